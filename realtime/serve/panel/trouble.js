// The one trouble light: from everything that is known to a level, a sentence that says what to do, and perhaps a button.

export const CLIP_DB = -0.1;
const RECENT_MS = 10000;
const CLIPPED_MS = 3000;
const seen = new Map(); // counter: [last value, when it rose]

/** Whether a counter rose during the last ten seconds. */
function rose(name, value, now) {
  const [before, when] = seen.get(name) ?? [value ?? 0, -Infinity];
  const at = (value ?? 0) > before ? now : when;
  seen.set(name, [value ?? 0, at]);
  return now - at < RECENT_MS;
}

let clippedAt = -Infinity;

/**
 * @param link {state}
 * @param failure why the last start failed; empty if it did not
 * @returns {level: "off"|"ok"|"warn"|"bad", word, text, action: undefined|{label, name, value}}
 */
export function trouble({ link, state, stats, meters, failure }, now = Date.now()) {
  const is = (level, word, text, action) => ({ level, word, text, action });
  const rising = {};
  for (const name of ["late_blocks", "underruns", "overruns", "failed_blocks", "nonfinite_blocks"]) {
    rising[name] = rose(name, stats[name], now);
  }
  if (meters.input_peak_db > CLIP_DB) clippedAt = now;
  if (link.state !== "open") {
    const again = link.state === "lost" ? { label: "Try now", name: "retry" } : undefined;
    return is("bad", "No connection.", "There is no answer; this page keeps trying. Is altervox still running?", again);
  }
  const causes = state.causes ?? [];
  const more = causes.length > 1 ? ` (and ${causes.length - 1} more, see the log)` : "";
  const start = state.can_start ? { label: "Start again", name: "start" } : undefined;
  if (state.session === "failed") return is("bad", "Stopped.", causes[0] ?? "The session has failed.", start);
  if (state.session === "stopped" && failure) return is("bad", "Not started.", failure, start);
  if (state.session === "stopped") {
    const text = state.can_start ? "Press the big button to start." : "Start `altervox live --remote` in a terminal.";
    return is("off", "Not running.", causes[0] ?? text);
  }
  if (state.session === "starting") return is("warn", "Starting.", causes[0] ?? "The voice is being prepared.");
  if (state.session === "reconnecting") {
    return is("bad", "No sound.", causes[0] ?? "A device is gone; plug it in again or choose another below.");
  }
  if (causes.length) return is("warn", "Trouble.", causes[0] + more);
  if (state.longer_block_ms) {
    const action = { label: `Use ${state.longer_block_ms} ms blocks`, name: "block", value: state.longer_block_ms };
    return is("warn", "Blocks are late.", "This machine needs more time for the voice. Longer blocks give it that.", action);
  }
  if (rising.failed_blocks || rising.nonfinite_blocks) {
    return is("warn", "Blocks were silenced.", "The voice failed for a moment. If it goes on, choose another voice.");
  }
  if (rising.underruns) {
    return is("warn", "Underruns.", "The output ran out of sound for a moment. Close what keeps the processor busy.");
  }
  if (rising.overruns) {
    return is("warn", "Overruns.", "Some of the input was dropped. Close what keeps the processor busy.");
  }
  if (rising.late_blocks) return is("warn", "Late blocks.", "Some blocks took too long. Close what keeps the processor busy.");
  if (meters.input_is_silent) {
    const text = "The microphone delivers digital silence. Is it muted, or not allowed for this program?";
    return is("warn", "Silent microphone.", text);
  }
  if (state.recording_error) return is("warn", "Recording ended.", state.recording_error);
  if (now - clippedAt < CLIPPED_MS) return is("warn", "Clipping.", "The microphone is too loud. Turn it down in the system's settings.");
  if (state.mute) return is("ok", "Muted.", "Others hear silence.");
  if (state.bypass) return is("ok", "Bypassed.", "Others hear your own voice.");
  return is("ok", "All is well.", losses(stats));
}

function losses({ late_blocks: late = 0, underruns = 0, overruns = 0 }) {
  if (late + underruns + overruns === 0) return "Nothing was lost since the start.";
  const parts = { "late blocks": late, underruns, overruns };
  const some = Object.entries(parts).filter(([, number]) => number > 0);
  return `Since the start: ${some.map(([what, number]) => `${number} ${what}`).join(", ")}.`;
}
