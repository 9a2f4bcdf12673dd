/** `graft fleet`: many boxes that learn together. */
import { UsageError } from "../../errors.ts";
import { command } from "../command.ts";

export default command({
  name: "fleet",
  summary: "Learn together with other boxes, which keep their rows to themselves",
  operands: "join|train",
  flags: {},
  verbs: {
    join: () => import("./fleet_join.ts"),
    train: () => import("./fleet_train.ts"),
  },
  examples: [
    {
      command: "graft fleet join https://fleet.example:8000 --model ./smollm2-int4 --data ./data " +
        "--state ./fleet",
      does: "trains in the rounds of a Flower SuperLink",
    },
  ],
  run() {
    throw new UsageError("graft fleet needs a second verb: join or train");
  },
});
