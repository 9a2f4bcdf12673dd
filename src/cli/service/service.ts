/**
 * `graft service`: graft as a systemd service that answers, trains on new data and keeps the better
 * model.
 */
import { UsageError } from "../../errors.ts";
import { command } from "../command.ts";

export default command({
  name: "service",
  summary: "Install, watch and run graft as a hardened systemd service that trains on new data",
  operands: "install|uninstall|status|ask|rollback|run|train",
  flags: {},
  verbs: {
    install: () => import("./service_install.ts"),
    uninstall: () => import("./service_uninstall.ts"),
    status: () => import("./service_status.ts"),
    ask: () => import("./service_ask.ts"),
    rollback: () => import("./service_rollback.ts"),
    run: () => import("./service_run.ts"),
    train: () => import("./service_train.ts"),
  },
  examples: [
    {
      command: "sudo graft service install --model ./smollm2-int4",
      does: "writes the units, starts the service and the nightly timer",
    },
    { command: "graft service install --dry-run", does: "prints the units" },
    {
      command: "sudo cp new.jsonl /var/lib/graft/data/",
      does: "adds rows for the next night's training; leave earlier files there",
    },
    {
      command: "sudo graft service status",
      does: "the model in use, the last events, the next training",
    },
    { command: "sudo graft service rollback", does: "goes back to the model before" },
  ],
  run() {
    throw new UsageError(
      "graft service needs a second verb: install, uninstall, status, ask, rollback, run or train",
    );
  },
});
