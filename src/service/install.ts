/** Installing the service: a program and a model that everybody can read, units, systemctl. */
import { basename, dirname, join } from "@std/path";
import { BadInputError, RefusedError, StorageError } from "../errors.ts";
import { findModelFile } from "../model/find_model.ts";
import { loadOnnx } from "../model/load_onnx.ts";
import { StagedDirectory } from "../model/staged_directory.ts";
import { writeModel } from "../model/write_model.ts";
import { insideBinary } from "../system/embedded.ts";
import { kernelAccess } from "../system/kernel_files.ts";
import {
  changeMode,
  copyFile,
  exists,
  makeDirectory,
  removeDirectory,
  replaceFile,
  syncDirectory,
} from "../system/durable_files.ts";
import { UNITS } from "./units.ts";

/** Where things go; others in tests. */
export interface Places {
  readonly units: string;
  /** Program, model and configuration: read-only for the service. */
  readonly program: string;
}

export const PLACES: Places = { units: "/etc/systemd/system", program: "/opt/graft" };

/** Told what was done, a line each. */
export type Say = (line: string) => void;

/** Folders of which a unit with ProtectHome and PrivateTmp sees nothing. */
const HIDDEN = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/**
 * Refuses a path that the services cannot see.
 *
 * @param flag that gave it, for the message
 * @throws {BadInputError} naming it
 */
export function checkVisible(path: string, flag: string): void {
  const hidden = HIDDEN.find((folder) => path === folder || path.startsWith(`${folder}/`));
  if (hidden === undefined && path.startsWith("/")) return;
  throw new BadInputError(
    hidden === undefined
      ? `${flag} must be an absolute path: current value is ${path}`
      : `The services cannot see what is in ${hidden}: name another folder than ${path} with ${flag}, ` +
        "such as one in /srv",
  );
}

/**
 * Copies the program to where the units start it.
 *
 * @returns its path
 */
export function copyProgram(program: string, places: Places, say: Say): string {
  const path = join(places.program, "bin", "graft");
  makeDirectory(dirname(path));
  if (Deno.realPathSync(program) === path) return path;
  copyFile(program, path, 0o755);
  syncFolders(places);
  say(`Copied ${program} to ${path}`);
  return path;
}

/** Puts the folder of the program, which may be new, on the disk in the one above it. */
function syncFolders(places: Places): void {
  for (const folder of [places.program, dirname(places.program)]) syncDirectory(folder);
}

/**
 * Copies a model to where every user can read it, whole or not at all.
 *
 * @param model folder, file or name of the model that graft carries, which needs no copy
 * @returns the model as the units name it
 */
export async function copyModel(model: string, places: Places, say: Say): Promise<string> {
  const file = findModelFile(model);
  if (insideBinary(file)) return model;
  const target = join(places.program, "model");
  if (dirname(Deno.realPathSync(file)) === target) return target;
  makeDirectory(places.program);
  using base = loadOnnx(file);
  using staged = new StagedDirectory(target);
  await writeModel(staged, { path: file, model: base.model }, base.model, () => Promise.resolve());
  staged.commit(true);
  readableByAll(target);
  syncFolders(places);
  say(`Copied ${dirname(file)} to ${target}`);
  return target;
}

/** Copies the configuration of the training; returns its path. */
export function copyConfig(text: string, places: Places, say: Say): string {
  const path = join(places.program, "train.yaml");
  makeDirectory(places.program);
  replaceFile(path, new TextEncoder().encode(text));
  changeMode(path, 0o644);
  syncFolders(places);
  say(`Wrote ${path}`);
  return path;
}

function readableByAll(folder: string): void {
  changeMode(folder, 0o755);
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) readableByAll(join(folder, name));
    else changeMode(join(folder, name), 0o644);
  }
}

/** Writes the unit files. */
export function writeUnits(files: ReadonlyMap<string, string>, places: Places, say: Say): void {
  makeDirectory(places.units);
  for (const [name, text] of files) {
    const path = join(places.units, name);
    replaceFile(path, new TextEncoder().encode(text));
    changeMode(path, 0o644);
    say(`Wrote ${path}`);
  }
}

/** Whether systemd runs this machine. Source: sd_booted(3). */
export function systemdRuns(): boolean {
  return kernelAccess("/run/systemd/system", "exists");
}

/**
 * Refuses to go on where somebody else than root asks, before anything is changed.
 *
 * @param verb for the message
 * @throws {StorageError} saying what to type
 */
export function checkRoot(verb: string): void {
  if (Deno.uid() === 0) return;
  throw new StorageError(`Only root may change the services: sudo graft service ${verb}`);
}

/** Stops the units and removes what {@linkcode writeUnits} and the copies made. */
export async function removeUnits(places: Places, say: Say): Promise<boolean> {
  const there = Object.values(UNITS).filter((name) => exists(join(places.units, name)));
  const running = there.length > 0 && systemdRuns();
  if (running) await systemctl(["disable", "--now", ...there], say);
  for (const name of there) {
    attempt(name, () => Deno.removeSync(join(places.units, name)));
    say(`Removed ${join(places.units, name)}`);
  }
  if (running) await systemctl(["daemon-reload"], say);
  if (exists(places.program)) {
    removeDirectory(places.program);
    say(`Removed ${places.program}`);
  }
  return there.length > 0;
}

/** Removes a folder of the services, which systemd keeps behind a link. */
export function purge(folder: string, say: Say): void {
  const behind = join(dirname(folder), "private", basename(folder));
  for (const path of [folder, behind]) {
    if (!exists(path)) continue;
    attempt(path, () => Deno.removeSync(path, { recursive: true }));
    say(`Removed ${path}`);
  }
}

/**
 * Runs `systemctl`.
 *
 * @throws {RefusedError} where it fails, with what it says
 */
export async function systemctl(args: readonly string[], say: Say): Promise<void> {
  const { code, stderr } = await runSystemctl(args);
  if (code !== 0) throw new RefusedError(`systemctl ${args.join(" ")} failed: ${stderr.trim()}`);
  say(`systemctl ${args.join(" ")}`);
}

/**
 * Runs `systemctl` and gives what it prints.
 *
 * @throws {RefusedError} where this machine has none
 */
export async function runSystemctl(
  args: readonly string[],
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  try {
    const { code, stdout, stderr } = await new Deno.Command("systemctl", {
      args: [...args],
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (cause) {
    throw new RefusedError(
      "This machine has no systemctl: services need systemd; --dry-run prints the units",
      { cause },
    );
  }
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const message = `Cannot write ${path}: ${(error as Error).message}`;
    throw new StorageError(message, { cause: error });
  }
}
