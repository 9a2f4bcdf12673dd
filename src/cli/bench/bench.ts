/** `graft bench`: measures speed and memory of training, merging and running on this machine. */
import { UsageError } from "../../errors.ts";
import { command } from "../command.ts";

export default command({
  name: "bench",
  summary: "Measure training, methods, kernels, merging, decoding and starting on this machine",
  operands: "train|methods|kernels|merge|decode|start",
  flags: {},
  verbs: {
    train: () => import("./bench_train.ts"),
    methods: () => import("./bench_methods.ts"),
    kernels: () => import("./bench_kernels.ts"),
    merge: () => import("./bench_merge.ts"),
    decode: () => import("./bench_decode.ts"),
    start: () => import("./bench_start.ts"),
  },
  examples: [
    {
      command: "graft bench train --model ./smollm2-int4 --batch-size 2,4,8 --length 256",
      does: "tokens per second, memory and the parts of a training step",
    },
    {
      command: "graft bench methods --model ./minilm-int8 --data ./banking77",
      does: "LoRA, merged and not, beside other methods: parameters, training, result, latency",
    },
    {
      command: "graft bench kernels --model ./smollm2-int4",
      does: "the matrix products that a training step can choose from; training then knows them",
    },
    {
      command: "graft bench merge --model ./smollm2-int4",
      does: "time and memory of a merge",
    },
    {
      command: "graft bench decode --model ./merged --against ./smollm2-int4",
      does: "tokens per second of reading a prompt and of answering",
    },
    {
      command: "graft bench start --model ./smollm2-int4",
      does: "seconds from the start of the program to its first result",
    },
  ],
  run() {
    throw new UsageError(
      "graft bench needs a second verb: train, methods, kernels, merge, decode or start",
    );
  },
});
