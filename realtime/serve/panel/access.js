// Who may use this session: the page without access, prompts of programs that ask, clients, and button addresses.

import { actions } from "./actions.js";
import { byId, confirmed, copy, el, say, sentence } from "./dom.js";
import { allow, CLIENT, command, link, on, session } from "./session.js";

const NAME_LENGTH = 60;

// --- The page without access ---------------------------------------------------------------------------------------

byId("ask-name").maxLength = NAME_LENGTH;
byId("ask-name").value = CLIENT.slice(0, NAME_LENGTH);
byId("copy-command").onclick = (event) => copy("altervox remote panel", event.currentTarget);
byId("ask").onsubmit = (event) => {
  event.preventDefault();
  byId("ask-button").disabled = true;
  say(byId("ask-code"), "…");
  link.ask(byId("ask-name").value.trim() || CLIENT, (code) => say(byId("ask-code"), spaced(code)));
};

on("link", () => {
  const hasNone = link.state === "denied" || link.state === "asking";
  byId("entry").hidden = !hasNone;
  byId("panel").hidden = hasNone;
  if (link.state !== "denied") return;
  byId("ask-button").disabled = false;
  say(byId("ask-code"), "");
  say(byId("entry-reason"), sentence(link.reason));
});

const spaced = (code) => `${code.slice(0, 3)} ${code.slice(3)}`;

// --- Programs that ask for access ----------------------------------------------------------------------------------

let pairings = [];

const ASKED = { audio: "to convert its sound", "control+audio": "to control, and to convert its sound" };
const MAY = "May change voice and sound";
const GRANTS = {
  control: ["Allow control", MAY],
  audio: ["Allow audio", "May send sound and get it back converted, and change nothing else"],
  "control+audio": ["Allow control and audio", `${MAY}, and send sound of its own to be converted`],
};

function showPairings() {
  byId("prompts").replaceChildren(...pairings.map(({ id, client, peer, code, icon, role = "control" }) => {
    const answer = (text, title, params, look = "") => {
      const onclick = () => command("pair_answer", { id, ...params });
      return allow(el("button", { type: "button", class: look, title, onclick }, text), "admin");
    };
    const grants = Object.entries(GRANTS).filter(([granted]) => granted === role || (granted === "control" && role === "control+audio"));
    const whence = `${peer ? ` from ${peer}` : ""}${role in ASKED ? ` ${ASKED[role]}` : ""}`;
    const text = el("p", {}, el("b", {}, client), ` asks for access${whence}. Allow it only if it shows this code:`);
    return el("div", { class: "card prompt", role: "group", "aria-label": `${client} asks for access` },
      ...(icon ? [el("img", { src: `data:image/png;base64,${icon}`, alt: "" })] : []),
      text, el("span", { class: "code" }, spaced(code)),
      ...grants.map(([granted, [name, title]]) => answer(name, title, { allow: true, role: granted }, granted === role ? "primary" : "")),
      answer("View only", "May change nothing", { allow: true, role: "view" }),
      answer("Everything", "May also start, stop and let others in", { allow: true, role: "admin" }),
      answer("Deny", "Gets no access", { allow: false }));
  }));
}
on("pairings", (data) => {
  pairings = data;
  showPairings();
  listClients();
});

// --- Clients -------------------------------------------------------------------------------------------------------

async function listClients() {
  if (!byId("details").open || link.role !== "admin") return;
  const clients = (await command("clients"))?.clients ?? [];
  byId("clients").replaceChildren(...clients.map((client) => {
    const remove = el("button", { type: "button", "aria-label": `Remove ${client.name}` }, "Remove");
    confirmed(remove, "Sure?", async () => {
      await command("client_remove", { id: client.id });
      listClients();
    });
    const about = [client.role, client.connections ? "connected now" : ""];
    return el("li", {}, el("span", {}, client.name, el("small", {}, about.filter(Boolean).join(", "))), allow(remove, "admin"));
  }));
  if (!clients.length) byId("clients").append(el("li", {}, el("span", { class: "caption" }, "Nobody yet.")));
}

/** Copy an address that lets one more browser in, once. */
async function copyLink(button, query) {
  const link = await command("panel_link");
  if (link) copy(`${location.origin}/${query}#${link.token}`, button);
}
for (const [id, query] of [["copy-panel", ""], ["copy-dock", "?view=dock"], ["copy-meter", "?view=meter"]]) {
  allow(byId(id), "admin").onclick = ({ currentTarget }) => copyLink(currentTarget, query);
}

// --- Button addresses ----------------------------------------------------------------------------------------------

const made = new Map(); // paths of the buttons that this page has made: nobody else can show them

async function listButtons() {
  const isOn = link.role === "admin" && (link.hello.features ?? []).includes("buttons");
  byId("buttons-part").hidden = link.role !== "admin";
  byId("button-form").hidden = !isOn;
  byId("buttons-note").textContent = isOn
    ? "For tools that can only open an address. Each is good for its one action, until you remove it."
    : "For tools that can only open an address: start altervox with --url-buttons.";
  if (!isOn || !byId("details").open) return;
  byId("button-action").replaceChildren(...[...actions().keys()].map((name) => el("option", { value: name }, name)));
  const buttons = (await command("buttons"))?.buttons ?? [];
  byId("buttons").replaceChildren(...buttons.map(buttonRow));
}

function buttonRow({ id, label, cmd }) {
  const remove = el("button", { type: "button", "aria-label": `Remove ${label}` }, "Remove");
  confirmed(remove, "Sure?", async () => {
    await command("button_remove", { id });
    listButtons();
  });
  const target = made.has(id) ? location.origin + made.get(id) : null;
  const copyIt = el("button", { type: "button", class: "primary", onclick: (event) => copy(target, event.currentTarget) }, "Copy");
  const about = target ? "Copy its address now: it is not shown again." : cmd;
  return el("li", {}, el("span", {}, label, el("small", {}, about)), ...(target ? [copyIt] : []), allow(remove, "admin"));
}

byId("button-form").onsubmit = async (event) => {
  event.preventDefault();
  const [label, cmd, params] = actions().get(byId("button-action").value);
  const button = await command("button_add", { label, cmd, params });
  if (!button) return;
  made.set(button.id, button.path);
  listButtons();
};
allow(byId("button-form").querySelector("button"), "admin");

function listAll() {
  byId("clients-part").hidden = link.role !== "admin";
  listClients();
  listButtons();
}
byId("details").addEventListener("toggle", listAll);

// --- Audio sessions ------------------------------------------------------------------------------------------------

const rows = new Map(); // by number: what says how a session is doing changes, the button stays

function sessionRow({ session: number, client }) {
  const end = el("button", { type: "button", "aria-label": `End the audio session of ${client}` }, "End");
  confirmed(end, "Sure?", () => command("audio.end", { session: number }));
  const about = el("small");
  return { about, element: el("li", {}, el("span", {}, client, about), allow(end, "admin")) };
}

function listSessions(sessions) {
  for (const [number, { element }] of rows) {
    if (sessions.some(({ session: open }) => open === number)) continue;
    element.remove();
    rows.delete(number);
  }
  for (const one of sessions) {
    if (!rows.has(one.session)) {
      rows.set(one.session, sessionRow(one));
      byId("sessions").append(rows.get(one.session).element);
    }
    const late = one.late_blocks ? `${one.late_blocks} late blocks` : "";
    const about = [one.voice, `${Math.round(100 * one.load)} % of a core`, one.is_connected ? "" : "connection lost", late, one.cause];
    say(rows.get(one.session).about, about.filter(Boolean).join(", "));
  }
  byId("no-sessions").hidden = sessions.length > 0;
}
on("audio_sessions", listSessions);

on("link", () => {
  if (!link.hasAccess) pairings = [];
  byId("sessions-part").hidden = link.role !== "admin" || !(link.hello.features ?? []).includes("audio");
  showPairings();
  listAll();
});
on("voices", listButtons);
