/** `graft fleet`: what many boxes do together: learn, and use what they are given. */
import { UsageError } from "../../errors.ts";
import { command } from "../command.ts";

export default command({
  name: "fleet",
  summary: "Learn together with other boxes, and roll adapters out to them in signed waves",
  operands: "VERB",
  flags: {},
  verbs: {
    join: () => import("./fleet_join.ts"),
    train: () => import("./fleet_train.ts"),
    keygen: () => import("./fleet_keygen.ts"),
    publish: () => import("./fleet_publish.ts"),
    advance: () => import("./fleet_advance.ts"),
    rollback: () => import("./fleet_rollback.ts"),
    status: () => import("./fleet_status.ts"),
    export: () => import("./fleet_export.ts"),
    follow: () => import("./fleet_follow.ts"),
    apply: () => import("./fleet_apply.ts"),
  },
  examples: [
    {
      command: "graft fleet join https://fleet.example:8000 --model ./smollm2-int4 --data ./data " +
        "--state ./fleet",
      does: "trains in the rounds of a Flower SuperLink",
    },
    {
      command: "graft fleet keygen",
      does: "writes fleet.key for the operator and fleet.pub for boxes",
    },
    {
      command: "graft fleet publish 0007 --key fleet.key --server tls://nats.example.com",
      does: "rolls model 0007's adapter out to 1%, 10%, then all boxes, while they report well",
    },
    {
      command: "graft fleet status --public-key fleet.pub --server tls://nats.example.com",
      does: "what each box uses and what it measured",
    },
    {
      command: "sudo graft service install --follow tls://nats.example.com --public-key fleet.pub",
      does: "lets a box follow the fleet",
    },
  ],
  run() {
    throw new UsageError(
      "graft fleet needs a second verb: join, train, keygen, publish, advance, rollback, status, " +
        "export, follow or apply",
    );
  },
});
