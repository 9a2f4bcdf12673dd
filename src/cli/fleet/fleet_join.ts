/** `graft fleet join`: the box takes part in the rounds of a Flower SuperLink. */
import { join } from "@std/path";
import { parseSize } from "../../config/size.ts";
import { EXIT, StorageError, UsageError } from "../../errors.ts";
import { FleetHttp } from "../../fleet/flower/fleet_http.ts";
import { FleetNode } from "../../fleet/flower/fleet_node.ts";
import { checkFlowerVersion } from "../../fleet/flower/version.ts";
import { keepIdentity, NodeRecord } from "../../fleet/rounds/node_files.ts";
import { serveRounds } from "../../fleet/rounds/serve_rounds.ts";
import { Spool } from "../../fleet/rounds/spool.ts";
import { trainInChild } from "../../fleet/rounds/train_in_child.ts";
import { findModelFile } from "../../model/find_model.ts";
import { claimDirectory } from "../../system/claim.ts";
import { makeDirectory } from "../../system/durable_files.ts";
import { openLog } from "../../system/journal_log.ts";
import { command } from "../command.ts";
import { boolean, text } from "../flags.ts";
import { readTextFile } from "../../system/small_file.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { boxSettings, fleetState, ROUND_FLAGS, roundWords, STATE_FLAG } from "./round_flags.ts";
import { superLinkUrl } from "./superlink_url.ts";

const SUPERLINK = "SuperLink";

const FLAGS = {
  ...STATE_FLAG,
  rootCertificates: text("Certificates to trust besides the system's, PEM", {
    placeholder: "FILE",
    group: SUPERLINK,
  }),
  insecure: boolean("Talk to the SuperLink in plain HTTP", { default: false, group: SUPERLINK }),
  authSupernodePrivateKey: text(
    "Private key that the SuperLink knows this box by, on P-384; one is made and kept in the state " +
      "folder if absent",
    { placeholder: "FILE", group: SUPERLINK },
  ),
  maxAdapterSize: text("Largest adapter to take from the SuperLink", {
    default: "1G",
    placeholder: "SIZE",
    group: SUPERLINK,
  }),
  train: boolean(
    "Train in a process beside this one; otherwise graft fleet train does it elsewhere",
    {
      default: true,
      group: SUPERLINK,
    },
  ),
  ...ROUND_FLAGS,
} as const;

export default command({
  name: "fleet join",
  summary: "Take part in the rounds of a Flower SuperLink: train on this box's rows, send adapters",
  operands: "URL",
  maxOperands: 1,
  flags: FLAGS,
  examples: [
    {
      command: "graft fleet join https://fleet.example:8000 --model ./smollm2-int4 --data ./data " +
        "--state ./fleet --root-certificates ca.pem",
      does: "trains whenever a round asks for it, until Ctrl-C",
    },
    {
      command:
        "graft fleet join http://127.0.0.1:8000 --insecure --data quickstart --state ./fleet",
      does: "the same without TLS, with the model that graft carries",
    },
    {
      command: "graft fleet join https://fleet.example:8000 --data ./data --state ./fleet " +
        "--window 01:00-05:00 --max-temperature 85",
      does: "trains at night, while the box is cool",
    },
  ],
  needs: ["net", "run"],
  async run({ flags, given, operands: [address], terminal }) {
    if (address === undefined) {
      throw new UsageError("graft fleet join needs the SuperLink's address: https://HOST:PORT");
    }
    const url = superLinkUrl(address, flags.insecure);
    const mostBytes = parseSize(flags.maxAdapterSize, "maxAdapterSize");
    const folder = fleetState(flags);
    if (flags.train) findModelFile(boxSettings(flags, given).model);
    makeDirectory(folder);
    using _claim = claim(folder);
    const log = openLog((line) => terminal.note(line));
    const identity = keepIdentity(folder, flags.authSupernodePrivateKey);
    const record = new NodeRecord(join(folder, "node.json"), url);
    using http = new FleetHttp({
      ...{ url, identity },
      rootCertificates: flags.rootCertificates && readTextFile(flags.rootCertificates),
      onRetry: (line) => log("notice", line),
    });
    using stop = new StopSignal(() => log("notice", "Stopping in order", { EVENT: "stopping" }));
    const { signal } = stop;
    try {
      const version = await http.version(signal);
      if (version !== undefined) checkFlowerVersion(version, url);
      const node = new FleetNode(http, {
        identity,
        knownId: record.read(),
        onId: (id) => record.write(id),
        onNote: (line) => log("notice", line),
      });
      await node.join(signal);
      log("notice", `Joined ${url} (Flower ${version ?? "of unknown version"}) as node ${node.id}`);
      const spool = new Spool(folder);
      const words = ["fleet", "train", "--state", folder, ...roundWords(flags, given)];
      const work = flags.train
        ? (ending: AbortSignal) => trainInChild(spool, words, log, ending)
        : undefined;
      await serveRounds({ spool, node, mostBytes, work, log, signal });
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return EXIT.ok;
  },
});

/** One process speaks for a box. */
function claim(folder: string): Disposable {
  const claimed = claimDirectory(folder);
  if (claimed !== undefined) return claimed;
  throw new StorageError(
    `${folder} is in use by another \`graft fleet join\`, or its file system has no locks`,
  );
}
