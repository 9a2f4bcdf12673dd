/** `graft service uninstall`: removes the files of `install`. */
import { EXIT } from "../../errors.ts";
import { checkRoot, INSTALL_PATHS, purge, removeUnits } from "../../service/install.ts";
import { exists } from "../../system/durable_files.ts";
import { command } from "../command.ts";
import { boolean } from "../flags.ts";
import { DEFAULT_STATE, FLEET_STATE } from "./service_flags.ts";

/** All that the units have written. */
const FOLDERS = [
  DEFAULT_STATE,
  FLEET_STATE,
  "/var/lib/graft-follow",
  "/var/cache/graft",
  "/var/log/graft",
];

export default command({
  name: "service uninstall",
  summary: "Stop the service and remove its units, its program and its copy of the base model",
  flags: {
    purge: boolean("Also remove promoted models, the journal, data and caches", { default: false }),
  },
  examples: [
    {
      command: "sudo graft service uninstall",
      does: `leaves ${DEFAULT_STATE}, which a new installation uses`,
    },
  ],
  needs: ["run"],
  async run({ flags, terminal }) {
    checkRoot("uninstall");
    const report = (line: string) => terminal.print(line);
    if (!await removeUnits(INSTALL_PATHS, report)) {
      terminal.note(`There are no units in ${INSTALL_PATHS.units}`);
    }
    if (flags.purge) {
      for (const folder of FOLDERS) purge(folder, report);
    } else if (exists(DEFAULT_STATE)) {
      terminal.note(`${DEFAULT_STATE} stays; --purge removes it`);
    }
    return EXIT.ok;
  },
});
