/**
 * Gives a pipe to whatever reads a path that a user names, or a file beside one: `pipe_child.ts FOLDER`.
 *
 * The folder holds pipes only, each under a name that is looked for. Prints a line for each reader:
 * its name and what came of it. A reader that opens its pipe waits for ever, and so does this.
 */
import { join } from "@std/path";
import { openLibrary } from "../../ffi/library.ts";
import { readChosenMemory } from "../../src/finetune/chosen_memory.ts";
import { MetricsFile } from "../../src/finetune/metrics_file.ts";
import { readTextFile } from "../../src/system/small_file.ts";
import { keepIdentity } from "../../src/fleet/rounds/node_files.ts";
import { Spool } from "../../src/fleet/rounds/spool.ts";
import { claimWork } from "../../src/fleet/rounds/work_folder.ts";
import { FileSource } from "../../src/data/io/file_source.ts";
import { AdapterStore } from "../../src/hub/adapter_store.ts";
import { RepositoryFolder } from "../../src/hub/cache.ts";
import { fileDigest } from "../../src/hub/digests.ts";
import { filesUnder } from "../../src/hub/import_local.ts";
import { hubSettings } from "../../src/hub/settings.ts";
import { unpackTar } from "../../src/hub/tar.ts";
import { BadInputError } from "../../src/errors.ts";
import { EventLog } from "../../src/jobs/event_log.ts";
import { FileStore, type StoredFile } from "../../src/jobs/file_store.ts";
import { Jobs, type JobsOptions } from "../../src/jobs/jobs.ts";
import { MetricsTail } from "../../src/jobs/metrics_tail.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { readTextFiles } from "../../src/model/tokenizer_files.ts";
import { folderDigest } from "../../src/runtime/model_digest.ts";
import { openMapped } from "../../src/system/mapped_file.ts";

const [folder] = Deno.args;
const pipe = join(folder, "pipe");
const UPLOAD = { id: `file-${"0".repeat(24)}` } as StoredFile;

/** What is told of a file that is passed over. */
function refused(problem: string): never {
  throw new BadInputError(problem);
}

const READERS: Readonly<Record<string, () => unknown>> = {
  "--adapter-path": () => loadAdapter(folder),
  "--auth-supernode-private-key": () => keepIdentity(folder, pipe),
  "--config": () => readTextFile(pipe),
  "--data": () => FileSource.open(pipe),
  "--jobs-dir": () => new Jobs({ folder, onDamaged: refused } as unknown as JobsOptions),
  "--jobs-dir, events": () => new EventLog(pipe).newest(1),
  "--jobs-dir, metrics": () => new MetricsTail(pipe),
  "--jobs-dir, an upload": () => new FileStore(folder, refused),
  "--jobs-dir, an upload's content": () => new FileStore(folder, () => {}).content(UPLOAD),
  "a box's task": () => new Spool(folder).readTask(),
  "a box's work": () => claimWork(folder, "x"),
  "--model, a file": () => loadOnnx(pipe),
  "--model, a folder": () => findModelFile(folder),
  "--ort-lib": () => openLibrary(pipe),
  "pull of a folder": () => filesUnder(folder),
  "pull of a tar": () => unpackTar(pipe, folder, () => Infinity),
  "a digest": () => fileDigest(pipe, "sha256"),
  "a mapped file": () => openMapped(pipe),
  "a tokenizer": () => readTextFiles(folder),
  "metrics of a resumed run": () => new MetricsFile(join(folder, "metrics.jsonl"), 1),
  // What these cannot read counts as not there.
  "a branch in the cache": () => new RepositoryFolder(folder, "org/tiny").commitOf("main"),
  "a token": () => hubSettings((name) => ({ HOME: folder, HF_TOKEN_PATH: pipe })[name]).token,
  "memory of a resumed run": () => readChosenMemory(folder),
  "a model's folder": () => folderDigest(pipe),
  "a name in the store": () => new AdapterStore(folder).find("mill"),
};

for (const [name, read] of Object.entries(READERS)) {
  try {
    await read();
    console.log(`${name}: passed over`);
  } catch (error) {
    console.log(`${name}: ${(error as Error).name}: ${(error as Error).message}`);
  }
}
