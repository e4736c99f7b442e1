// What a status means, as a level (good, warn, bad, off) and in a sentence.

import { counted, duration, listed, ms } from "./words.js";

const WAITS = ["opening", "closed", "gone", "ended"];

/** Newest answers of an actuator's host to commands (agent/commands/wire.py). */
export const VERDICTS = {
  applied: "the device accepted it",
  repeated: "in force, confirmed again",
  replayed: "refused: sequence numbers it has received before",
  expired: "refused: too old",
  limit: "refused: outside the actuator's limits",
  unknown: "refused: it takes commands from another sender",
  fault: "the device did not accept it",
  outdated: "refused: a newer decision is in force",
  waiting: "safe until every lane it needs is alive",
  key: "refused: this key may not command it",
  unproven: "refused: not proven fresh",
  overruled: "another of its boxes says what it does",
};
const IN_FORCE = ["applied", "repeated"];
const FRESH_S = 2; // lanes confirm what is in force several times a second

export function isSlow(lane) {
  return lane.state === "running" && lane.budget_ms > 0 && lane.p99_ms !== null && lane.p99_ms > lane.budget_ms;
}

export function laneLevel(lane) {
  if (lane.state === "running") return isSlow(lane) ? "warn" : "good";
  if (lane.state === "stopped" || lane.state === "unknown") return "off";
  return WAITS.includes(lane.state) ? "warn" : "bad";
}

export function laneWords(lane) {
  return isSlow(lane) ? "running, over budget" : lane.state;
}

/** The newest acknowledgement, null where none has come. */
export function newestAnswer(actuator) {
  const answers = actuator.acknowledged.filter((answer) => answer.age_s !== null);
  return answers.reduce((best, answer) => (!best || answer.age_s < best.age_s ? answer : best), null);
}

/** @returns {{level: string, word: string, verb: string, texts: string[]}} verb: what the device was confirmed to do */
export function judgeActuator(actuator) {
  const answer = newestAnswer(actuator);
  const troubles = [...new Set(actuator.acknowledged.map((one) => one.trouble).filter(Boolean))];
  if (actuator.host === 0) troubles.unshift("'reflexd actuate' does not serve it on this box");
  if (!answer) {
    const texts = [`nothing acknowledged yet; at rest it does ‘${actuator.rest}’`, ...troubles];
    const unserved = { level: "bad", word: "not served" };
    return { ...(actuator.host === 0 ? unserved : { level: "off", word: "not known" }), verb: "", texts };
  }
  const verdict = VERDICTS[answer.verdict] || answer.verdict;
  const said = `acknowledged ${duration(answer.age_s)} ago to lane ${answer.lane}: ${verdict}`;
  const texts = [said, ...troubles];
  const agrees = !actuator.verb || answer.verb === actuator.verb;
  if (!agrees) texts.push(`decided is ‘${actuator.verb}’: not acknowledged yet`);
  const inForce = agrees && IN_FORCE.includes(answer.verdict);
  return {
    ..._judgeAnswer(actuator.host === 0, inForce, answer.age_s < FRESH_S, troubles.length),
    verb: answer.verb,
    texts,
  };
}

function _judgeAnswer(unserved, inForce, fresh, troubles) {
  if (unserved) return { level: "bad", word: "not served" };
  if (inForce) return troubles && !fresh ? { level: "bad", word: "no answer" } : _steady(troubles);
  return troubles ? { level: "bad", word: "not as decided" } : { level: "warn", word: "in doubt" };
}

function _steady(troubles) {
  return troubles ? { level: "warn", word: "degraded" } : { level: "good", word: "acknowledged" };
}

/** Why the verb is in force. */
export function cause(actuator) {
  if (actuator.since_s === null) return "";
  const since = `for ${duration(actuator.since_s)}`;
  return actuator.rule ? `${since}, because of rule ${actuator.rule}` : `${since}, at rest: no rule holds`;
}

/** The box in one sentence. @returns {{level: string, text: string, details: string[]}} */
export function judgeBox(status) {
  if (!status.running) return _withoutDaemon(status);
  if (!status.answers) {
    const text = "The daemon runs and does not answer: it starts, hangs, or this user may not ask it.";
    return { level: "warn", text, details: status.reasons };
  }
  if (!status.lanes.length) {
    const details = [`Add lanes to ${status.config}, then: systemctl reload reflexd`];
    return { level: "warn", text: "This box has no lanes: it reads nothing and decides nothing.", details };
  }
  if (status.health !== "good") return _unwell(status);
  const slow = status.lanes.filter(isSlow);
  const lanes = status.lanes.length === 1 ? "The lane runs" : `All ${status.lanes.length} lanes run`;
  const drifting = status.lanes.filter((lane) => lane.drifts.length).map((lane) => lane.name);
  const details = drifting.length ? [`Not as it was learnt, so that findings are less certain: ${listed(drifting)}.`] : [];
  if (!slow.length) return { level: "good", text: `${lanes}, each within its budget.`, details };
  const late = slow.map((lane) => `${lane.name} (p99 ${ms(lane.p99_ms)} of ${ms(lane.budget_ms)} ms)`);
  return { level: "warn", text: `${lanes}; slower than the budget: ${listed(late)}.`, details };
}

function _withoutDaemon(status) {
  if (!status.lanes.length && status.health === "good") {
    const text = `This box hosts ${counted(status.actuators.length, "actuator")}; it has no lanes.`;
    return { level: "good", text, details: [] };
  }
  if (!status.lanes.length && !status.actuators.length) {
    const details = [`Configure it in ${status.config}; try it: reflexd demo`];
    return { level: "off", text: "This box has no lanes and no actuators yet.", details };
  }
  const text = "The daemon does not run: the figures are of its last run, and actuators are in their safe state.";
  const start = `Start it: systemctl start reflexd, or reflexd run -c ${status.config}`;
  return { level: "bad", text, details: [...status.reasons, start] };
}

function _unwell(status) {
  const words = { degraded: "The box works with less than it should", safe: "The box keeps its actuators safe" };
  const level = status.health === "degraded" ? "warn" : "bad";
  return { level, text: `${words[status.health] || `Health: ${status.health}`}.`, details: status.reasons };
}
