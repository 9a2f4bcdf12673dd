/** `graft service train`: what the timer starts: train on new data, evaluate, promote what is better. */
import { EXIT } from "../../errors.ts";
import { ChildSteps } from "../../service/child_steps.ts";
import { type JobResult, runJob } from "../../service/job.ts";
import { ServiceState } from "../../service/state.ts";
import { command } from "../command.ts";
import { integer, number, text } from "../flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { roundSettings } from "./round_settings.ts";
import { MODEL_FLAG, STATE_FLAG } from "./service_flags.ts";
import { StopSignal } from "../terminal/stop_signal.ts";

/** Flags that `install` puts into the unit. */
export const JOB_FLAGS = {
  trainConfig: text(
    "YAML file with flags of `graft train`; model, data and adapter are the job's",
    {
      placeholder: "FILE",
    },
  ),
  promoteMargin: number("Share by which the held-out loss must be below that of the model in use", {
    default: 0.01,
    min: 0,
    max: 1,
  }),
  keep: integer("Promoted models to keep", { default: 3, min: 1 }),
} as const;

export default command({
  name: "service train",
  summary:
    "If there are new rows, train the base on all rows, and promote the result if it is better",
  flags: {
    ...MODEL_FLAG,
    ...STATE_FLAG,
    data: text("Folder with all training rows; data in the service's folder if absent", {
      placeholder: "DIR",
    }),
    ...JOB_FLAGS,
    ...RUNTIME_FLAGS,
  },
  examples: [
    {
      command: "graft service train --state ./state --model ./smollm2-int4 --data ./data",
      does: "one round without systemd; after a kill, the same command continues it",
    },
  ],
  needs: ["run"],
  async run({ flags, given, terminal }) {
    const { folder, data, log, settings, options } = roundSettings(flags, given, terminal);
    using state = ServiceState.open(folder);
    using stop = new StopSignal(() => log("notice", "Stopping in order", { EVENT: "stopping" }));
    using steps = new ChildSteps(settings, log, stop.signal);
    const result = await runJob(state, steps, options, log);
    // Under systemd the log has said it, with fields.
    if (!Deno.env.has("JOURNAL_STREAM") || !("cycle" in result)) terminal.print(tell(result, data));
    if (result.outcome === "failed") return result.code;
    return result.outcome === "interrupted" ? EXIT.interrupted : EXIT.ok;
  },
});

function tell(result: JobResult, data: string): string {
  switch (result.outcome) {
    case "no data":
      return `There is no data in ${data}`;
    case "nothing new":
      return `There is no new data in ${data}`;
    case "interrupted":
      return "Stopped; the next start continues";
    case "promoted": {
      const { cycle, removed } = result;
      const gone = removed.length === 0 ? "" : `; removed ${removed.join(", ")}`;
      return `Model ${cycle} is in use now${gone}`;
    }
    case "rejected":
    case "failed":
      return `Cycle ${result.cycle} ${result.outcome}: ${result.why}`;
  }
}
