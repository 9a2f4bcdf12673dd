/** `graft fleet export`: writes the newest release for another way to boxes than the fleet's server. */
import { EXIT, UsageError } from "../../errors.ts";
import { exportFolder } from "../../fleet/export/export_folder.ts";
import { menderArtifact } from "../../fleet/export/mender_artifact.ts";
import { FleetDesk } from "../../fleet/operator/fleet_desk.ts";
import { replaceFileInParts } from "../../system/durable_files.ts";
import { command } from "../command.ts";
import { list, text } from "../flags.ts";
import { PUBLIC_KEY_FLAG, STORE_FLAGS, storeOf, trustedKeysOf } from "./fleet_flags.ts";

const MENDER = ".mender";

export default command({
  name: "fleet export",
  summary: "Write the newest release as a folder, or as an artifact of Mender",
  operands: "PATH --public-key FILE",
  maxOperands: 1,
  flags: {
    ...PUBLIC_KEY_FLAG,
    deviceType: list(`Kinds of devices that an artifact (PATH ends in ${MENDER}) is for`, {
      short: "t",
      placeholder: "TYPE",
    }),
    artifactName: text("Name of the artifact; the release's if absent", {
      short: "n",
      placeholder: "NAME",
    }),
    ...STORE_FLAGS,
  },
  examples: [
    {
      command:
        "graft fleet export 0007.mender --device-type jetson-orin-nano --public-key fleet.pub",
      does: "an artifact for Mender's update module graft",
    },
    {
      command: "graft fleet export /media/stick --public-key fleet.pub",
      does: "a folder for boxes without a network, or for an image",
    },
  ],
  needs: ["net"],
  async run({ flags, operands, terminal }) {
    const [path] = operands;
    if (path === undefined) {
      throw new UsageError(
        `graft fleet export needs a path: a folder, or a file that ends in ${MENDER}`,
      );
    }
    const isMender = path.endsWith(MENDER);
    const deviceTypes = flags.deviceType ?? [];
    checkWords("device-type", deviceTypes);
    checkWords("artifact-name", flags.artifactName === undefined ? [] : [flags.artifactName]);
    if (isMender && deviceTypes.length === 0) {
      throw new UsageError("Missing --device-type: the kinds of devices that the artifact is for");
    }
    if (!isMender && (deviceTypes.length > 0 || flags.artifactName !== undefined)) {
      throw new UsageError(
        `--device-type and --artifact-name are those of an artifact: ${path} does not end in ${MENDER}`,
      );
    }
    await using store = await storeOf(flags, "graft fleet export");
    const given = await new FleetDesk(store, flags.bucket, trustedKeysOf(flags)).newest();
    const { order } = given;
    if (isMender) {
      const artifactName = flags.artifactName ?? order.target?.name ?? `order-${order.sequence}`;
      await replaceFileInParts(path, menderArtifact(store, given, { artifactName, deviceTypes }));
    } else await exportFolder(store, given, path);
    terminal.print(`Order ${order.sequence}: ${order.why}, to ${path}`);
    if (order.open < 1) {
      terminal.note(
        "Boxes outside of this wave will wait: publish with --waves 100 to install on all",
      );
    }
    return EXIT.ok;
  },
});

/** Mender allows no spaces; other characters could change a terminal. */
function checkWords(flag: string, words: readonly string[]): void {
  const wrong = words.find((word) => !/^[\x21-\x7e]{1,128}$/.test(word));
  if (wrong === undefined) return;
  throw new UsageError(
    `--${flag} must be up to 128 characters without spaces: current value is ${
      JSON.stringify(wrong)
    }`,
  );
}
