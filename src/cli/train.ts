/** `graft train`: fine-tunes a quantised ONNX model on the device. */
import { UsageError } from "../errors.ts";
import { keepHeapSmall } from "../system/memory.ts";
import { command } from "./command.ts";
import { configToResume } from "./resumed_config.ts";
import { runTraining } from "./run_training.ts";
import { checkFlags } from "./train_checks.ts";
import { TRAIN_FLAGS } from "./train_flags.ts";
import { setUpTraining } from "./train_setup.ts";

export default command({
  name: "train",
  summary: "Fine-tune a LoRA adapter over a frozen, quantised ONNX model",
  flags: TRAIN_FLAGS,
  examples: [
    {
      command: "graft train --model default --data quickstart --target-modules all-linear",
      does: "trains what graft carries: a sentence encoder, on commands for a household device",
    },
    {
      command: "graft train --model ./smollm2-int4 --data ./data --iters 200",
      does: "trains on data/train.jsonl and leaves the adapter in ./adapters",
    },
    {
      command: "graft train --model ./minilm-int8 --data banking.csv --target-modules query,value",
      does: "learns to classify the rows of a text,label table",
    },
    {
      command:
        "graft train --model ./smollm2-int4 --data ./data --window 01:00-05:00 --max-temperature 85",
      does: "trains at night, and pauses while the box is hot",
    },
    {
      command: "graft train --resume",
      does: "goes on with a run that was stopped, as it was begun; its adapter is in ./adapters",
    },
  ],
  impliedConfig: configToResume,
  needs: ["run"],
  async run({ flags, terminal }) {
    if (flags.useDora) {
      throw new UsageError(
        "--use-dora is not supported: graft trains and merges plain LoRA; leave it out",
      );
    }
    checkFlags(flags);
    keepHeapSmall();
    using setup = await setUpTraining(flags, terminal);
    return await runTraining(setup, flags, terminal);
  },
});
