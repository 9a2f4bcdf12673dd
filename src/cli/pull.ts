/** `graft pull`: a model or an adapter from a hub, a folder or an archive, under a name. */
import { EXIT, HubError, UsageError } from "../errors.ts";
import { HubHttp } from "../hub/http.ts";
import { checkOrigin } from "../hub/import_local.ts";
import { RepositoryFolder } from "../hub/cache.ts";
import { checkRevision, type ModelName, parseModelName } from "../hub/names.ts";
import { pull, type Pulled } from "../hub/pull.ts";
import { DEFAULT_REVISION, findSnapshot } from "../hub/pulled.ts";
import { selectFiles } from "../hub/select.ts";
import { type HubSettings, hubSettings } from "../hub/settings.ts";
import { exists } from "../system/durable_files.ts";
import { command } from "./command.ts";
import { boolean, list, text, type Values } from "./flags.ts";
import { formatBytes } from "./format.ts";
import type { Terminal } from "./output.ts";
import { pullLocal } from "./pull_local.ts";
import { PullProgress } from "./pull_progress.ts";
import { StopSignal } from "./stop_signal.ts";

const FLAGS = {
  revision: text("Branch, tag or commit of the hub's model; main if absent", {
    placeholder: "NAME",
  }),
  variant: text(
    "Which ONNX model of several, e.g. int8, q4 or its path; the best for the CPU if absent",
    {
      placeholder: "NAME",
    },
  ),
  include: list("Get the files that match these patterns, instead of what a model needs", {
    placeholder: "GLOB",
  }),
  exclude: list("Leave out files that match these patterns", { placeholder: "GLOB" }),
  localDir: text("Write plain files to this folder instead of the shared cache", {
    placeholder: "DIR",
  }),
  name: text("Name for what comes from a folder or an archive; theirs if absent", {
    placeholder: "NAME",
  }),
  json: boolean("Print JSON", { default: false }),
};

export type PullFlags = Values<typeof FLAGS>;

export default command({
  name: "pull",
  summary: "Get a model or an adapter from a hub, a folder or a tar, under a name for other verbs",
  operands: "NAME|FOLDER|FILE.tar[.gz]",
  maxOperands: 1,
  flags: FLAGS,
  needs: ["net"],
  examples: [
    {
      command: "graft pull onnx-community/SmolLM2-135M-Instruct-ONNX --variant q4",
      does: "gets the 4-bit model, its tokenizer and configuration into the shared cache",
    },
    {
      command: "graft run onnx-community/SmolLM2-135M-Instruct-ONNX 'Why is the sky blue?'",
      does: "names it wherever a model is asked for",
    },
    { command: "graft pull ./adapters --name mill", does: "keeps an adapter in graft's store" },
    { command: "graft pull model.tar.gz --name mill-model", does: "takes a model from an archive" },
  ],
  async run({ flags, operands, terminal }) {
    const [source] = operands;
    if (source === undefined) {
      throw new UsageError("graft pull needs a name, a folder or a tar: `graft pull org/name`");
    }
    using stop = new StopSignal(() =>
      terminal.note("Stopping; the next `graft pull` goes on from here; again to stop at once")
    );
    if (exists(source) || /^[./~]|\.(tar|tgz|tar\.gz)$/.test(source)) {
      return await pullLocal(source, flags, terminal, stop.signal);
    }
    const name = parseModelName(source);
    if (name === undefined) {
      throw new UsageError(
        `"${source}" is no name of a model (org/name), and there is no such folder or file`,
      );
    }
    return await pullFromHub(name, flags, terminal, stop.signal);
  },
});

async function pullFromHub(
  name: ModelName,
  flags: PullFlags,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  if (flags.name !== undefined) {
    throw new UsageError("--name is for folders and archives: a hub's model keeps its own");
  }
  const settings = hubSettings();
  const revision = checkRevision(flags.revision ?? name.revision ?? DEFAULT_REVISION);
  const wanted = {
    variant: flags.variant ?? name.variant,
    include: flags.include,
    exclude: flags.exclude,
  };
  if (settings.offline) return tellOffline(name, revision, wanted, settings, flags, terminal);
  checkOrigin(new RepositoryFolder(settings.cache, name.repository), "hub");
  const progress = new PullProgress(terminal);
  const http = new HubHttp({
    ...settings,
    signal,
    onRetry: (line) => terminal.note(line),
  });
  const pulled = await pull(http, {
    ...wanted,
    cache: settings.cache,
    repository: name.repository,
    revision,
    localDir: flags.localDir,
    signal,
    onPlan: (plan) => progress.begin(name.repository, plan),
    onBytes: (file, done) => progress.bytes(file, done),
    onFile: (file) => progress.file(file),
    onWait: ({ path }) => terminal.note(`Another process is getting ${path}: waiting for it`),
  });
  progress.end();
  if (flags.json) terminal.print(JSON.stringify(pulledJson(name.repository, revision, pulled)));
  else {
    const bytes = pulled.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const come = formatBytes(pulled.missingBytes);
    terminal.print(
      `Pulled ${name.repository} at ${pulled.commit.slice(0, 12)}: ${pulled.files.length} files, ` +
        `${formatBytes(bytes)}, ${pulled.missingBytes === 0 ? "all there before" : `${come} new`}`,
    );
    terminal.print(`In ${pulled.folder}`);
  }
  return EXIT.ok;
}

function pulledJson(repository: string, revision: string, pulled: Pulled) {
  return {
    name: repository,
    revision,
    commit: pulled.commit,
    folder: pulled.folder,
    variant: pulled.variant?.name ?? null,
    variants: pulled.variants,
    downloaded_bytes: pulled.missingBytes,
    files: pulled.files.map(({ path, sizeBytes, digest }) => ({
      path,
      size_bytes: sizeBytes,
      [digest.kind === "git" ? "git_sha1" : "sha256"]: digest.hex,
    })),
  };
}

/** Without the network, what is there must do. */
function tellOffline(
  name: ModelName,
  revision: string,
  wanted: { variant?: string; include?: readonly string[]; exclude?: readonly string[] },
  { cache }: HubSettings,
  flags: PullFlags,
  terminal: Terminal,
): number {
  const found = flags.localDir === undefined
    ? findSnapshot(cache, { repository: name.repository, revision })
    : undefined;
  if (found === undefined) {
    throw new HubError(
      `Cannot pull ${name.repository}: HF_HUB_OFFLINE is set, and it is not in ${cache}; unset it`,
    );
  }
  const { variant } = selectFiles(found.paths, wanted, `What was pulled of ${name.repository}`);
  if (flags.json) {
    terminal.print(JSON.stringify({
      name: name.repository,
      revision,
      commit: found.commit,
      folder: found.folder,
      variant: variant?.name ?? null,
      downloaded_bytes: 0,
    }));
  } else {
    terminal.print(
      `${name.repository} at ${
        found.commit.slice(0, 12)
      } is there; whether the hub has a newer one ` +
        "was not asked, since HF_HUB_OFFLINE is set",
    );
    terminal.print(`In ${found.folder}`);
  }
  return EXIT.ok;
}
