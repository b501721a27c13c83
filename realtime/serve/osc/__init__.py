"""OSC over UDP, for avatars in VRChat and controllers such as TouchOSC, over the one protocol."""
