/** `graft train`: fine-tunes a quantised ONNX model on the device. */
import { Trainer } from "../../finetune/mod.ts";
import { configFileOf } from "../../finetune/saved_config.ts";
import { keepHeapSmall } from "../../system/memory.ts";
import { command } from "../command.ts";
import { runTrainer } from "./run_trainer.ts";
import { configOf, TRAIN_FLAGS } from "./train_flags.ts";
import { trainingNotes } from "./training_notes.ts";

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
  impliedConfig: ({ resume, adapterPath = TRAIN_FLAGS.adapterPath.default }) =>
    resume ? configFileOf(adapterPath as string) : undefined,
  needs: ["run"],
  async run({ flags, terminal }) {
    keepHeapSmall();
    const onEvent = trainingNotes(flags, terminal);
    using trainer = await Trainer.open(configOf(flags), { onEvent });
    return await runTrainer(trainer, terminal);
  },
});
