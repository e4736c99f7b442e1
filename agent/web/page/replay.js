// Whether a recording, computed again, gives the same decisions.

import { post } from "./api.js";
import { element, fill, notice } from "./dom.js";

const REPLAY_TIMEOUT_MS = 310000; // as long as the box tries
const VERDICT_LEVEL = { same: "good", differs: "bad", failed: "warn" };

/** The verdict goes into `place`; the button rests meanwhile. */
export async function replay(name, button, place) {
  button.disabled = true;
  fill(place, element("p", { class: "muted" }, "Computing every decision again…"));
  try {
    const { verdict, text } = await post("/api/replay", { name }, REPLAY_TIMEOUT_MS);
    fill(place, notice(VERDICT_LEVEL[verdict] || "warn", element("strong", {}, `${verdict}: `), text));
  } catch (error) {
    fill(place, notice("warn", `No verdict: ${error.message}`));
  }
  button.disabled = false;
}
