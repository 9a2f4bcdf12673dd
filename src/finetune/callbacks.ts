/** The training loop's callbacks as events of the run. */
import type { TrainCallbacks } from "../train/events.ts";
import type { OnEvent, RunEvent } from "./events.ts";

export function callbacksOf(onEvent: OnEvent<RunEvent>): TrainCallbacks {
  return {
    onStep: (progress) => onEvent({ kind: "step", ...progress }),
    onReport: (report) => onEvent({ kind: "report", report }),
    onEvaluate: (report) => onEvent({ kind: "evaluated", report }),
    onSkip: (report) => onEvent({ kind: "skipped", report }),
    onCheckpoint: (checkpoint) => onEvent({ kind: "checkpoint", ...checkpoint }),
    onPause: (pause) => onEvent({ kind: "paused", ...pause }),
    onGoOn: (pause) => onEvent({ kind: "continued", ...pause }),
  };
}
