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
} from "../system/durable_files.ts";
import { runSystemctl } from "./systemctl.ts";
import { UNITS } from "./units.ts";

/** Paths of the installed files; other paths in tests. */
export interface InstallPaths {
  readonly units: string;
  /** Program, model and configuration: read-only for the service. */
  readonly program: string;
}

export const INSTALL_PATHS: InstallPaths = { units: "/etc/systemd/system", program: "/opt/graft" };

/** Called with a line for each completed action. */
export type Report = (line: string) => void;

/** Folders that a unit with ProtectHome and PrivateTmp cannot see. */
const HIDDEN = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/**
 * Refuses a path that the services cannot see.
 *
 * @param flag the flag with the path, for the message
 * @throws {BadInputError} naming it
 */
export function checkVisible(path: string, flag: string): void {
  const hidden = HIDDEN.find((folder) => path === folder || path.startsWith(`${folder}/`));
  if (hidden === undefined && path.startsWith("/")) return;
  throw new BadInputError(
    hidden === undefined
      ? `${flag} must be an absolute path: current value is ${path}`
      : `The services cannot see files in ${hidden}: name another folder than ${path} with ${flag}, ` +
        "such as one in /srv",
  );
}

/**
 * Copies the program to the path from which the units start it.
 *
 * @returns its path
 */
export function copyProgram(program: string, paths: InstallPaths, report: Report): string {
  const path = join(paths.program, "bin", "graft");
  makeDirectory(dirname(path));
  if (Deno.realPathSync(program) === path) return path;
  copyFile(program, path, 0o755);
  report(`Copied ${program} to ${path}`);
  return path;
}

/**
 * Copies a model to a folder that every user can read, completely or not at all.
 *
 * @param model folder, file, or name of the embedded model, which needs no copy
 * @returns the model as the units name it
 */
export async function copyModel(
  model: string,
  paths: InstallPaths,
  report: Report,
): Promise<string> {
  const file = findModelFile(model);
  if (insideBinary(file)) return model;
  const target = join(paths.program, "model");
  if (dirname(Deno.realPathSync(file)) === target) return target;
  makeDirectory(paths.program);
  using base = loadOnnx(file);
  using staged = new StagedDirectory(target);
  await writeModel(staged, { path: file, model: base.model }, base.model, () => Promise.resolve());
  staged.commit(true);
  readableByAll(target);
  report(`Copied ${dirname(file)} to ${target}`);
  return target;
}

/** Writes a file that every user can read: the configuration of the training, a public key. */
export function writeShared(
  name: string,
  text: string,
  paths: InstallPaths,
  report: Report,
): string {
  const path = join(paths.program, name);
  makeDirectory(paths.program);
  replaceFile(path, new TextEncoder().encode(text));
  changeMode(path, 0o644);
  report(`Wrote ${path}`);
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
export function writeUnits(
  files: ReadonlyMap<string, string>,
  paths: InstallPaths,
  report: Report,
): void {
  makeDirectory(paths.units);
  for (const [name, text] of files) {
    const path = join(paths.units, name);
    replaceFile(path, new TextEncoder().encode(text));
    changeMode(path, 0o644);
    report(`Wrote ${path}`);
  }
}

/** Stops and removes units of an earlier installation that this one does not have. */
export async function removeOtherUnits(
  files: ReadonlyMap<string, string>,
  paths: InstallPaths,
  report: Report,
): Promise<void> {
  const others = Object.values(UNITS)
    .filter((name) => !files.has(name) && exists(join(paths.units, name)));
  if (others.length === 0) return;
  if (systemdRuns()) await systemctl(["disable", "--now", ...others], report);
  for (const name of others) {
    attempt(name, () => Deno.removeSync(join(paths.units, name)));
    report(`Removed ${join(paths.units, name)}`);
  }
}

/** Whether systemd runs this machine. Source: sd_booted(3). */
export function systemdRuns(): boolean {
  return kernelAccess("/run/systemd/system", "exists");
}

/**
 * Refuses users other than root, before anything is changed.
 *
 * @param verb for the message
 * @throws {StorageError} with the command to use
 */
export function checkRoot(verb: string): void {
  if (Deno.uid() === 0) return;
  throw new StorageError(`Only root may change the services: sudo graft service ${verb}`);
}

/** Stops the units and removes the files of {@linkcode writeUnits} and the copies. */
export async function removeUnits(paths: InstallPaths, report: Report): Promise<boolean> {
  const there = Object.values(UNITS).filter((name) => exists(join(paths.units, name)));
  const running = there.length > 0 && systemdRuns();
  if (running) await systemctl(["disable", "--now", ...there], report);
  for (const name of there) {
    attempt(name, () => Deno.removeSync(join(paths.units, name)));
    report(`Removed ${join(paths.units, name)}`);
  }
  if (running) await systemctl(["daemon-reload"], report);
  if (exists(paths.program)) {
    removeDirectory(paths.program);
    report(`Removed ${paths.program}`);
  }
  return there.length > 0;
}

/** Removes a folder of the services, which systemd stores behind a link. */
export function purge(folder: string, report: Report): void {
  const behind = join(dirname(folder), "private", basename(folder));
  for (const path of [folder, behind]) {
    if (!exists(path)) continue;
    attempt(path, () => Deno.removeSync(path, { recursive: true }));
    report(`Removed ${path}`);
  }
}

/**
 * Runs `systemctl`.
 *
 * @throws {RefusedError} if it fails, with its message
 */
export async function systemctl(args: readonly string[], report: Report): Promise<void> {
  const { code, stderr } = await runSystemctl(args);
  if (code !== 0) throw new RefusedError(`systemctl ${args.join(" ")} failed: ${stderr.trim()}`);
  report(`systemctl ${args.join(" ")}`);
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const message = `Cannot write ${path}: ${(error as Error).message}`;
    throw new StorageError(message, { cause: error });
  }
}
