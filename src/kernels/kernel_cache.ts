/** Measured kernels on disk: one file per processor, number of threads and release of ONNX Runtime. */
import { dirname, join } from "@std/path";
import { GraftError } from "../errors.ts";
import type { Runner } from "../runtime/runner.ts";
import { cacheDirectory } from "../system/cache_directory.ts";
import { makeDirectory, replaceFile } from "../system/durable_files.ts";
import { processor } from "../system/processor.ts";
import { readSmallText } from "../system/small_file.ts";
import { VERSION } from "../version.ts";
import {
  formatKernelTable,
  type KernelSource,
  type KernelTable,
  parseKernelTable,
} from "./kernel_table.ts";

/** @param threads threads of the runner; absent: all of the processor's */
export function kernelSource(runner: Runner, threads: number | undefined): KernelSource {
  const { name, features, threads: all } = processor();
  return {
    processor: name,
    features,
    threads: threads ?? all,
    runtime: runner.description,
    graft: VERSION,
  };
}

/** Where the figures of a source are stored; `undefined` if there is no folder for caches. */
export function kernelCachePath(source: KernelSource): string | undefined {
  const directory = cacheDirectory();
  if (directory === undefined) return undefined;
  const { processor, features, threads, runtime } = source;
  const name = [processor, features, `${threads} threads`, runtime].join(" ")
    .replace(/[^A-Za-z0-9.]+/g, "-");
  return join(directory, "kernels", `${name}.json`);
}

/** The figures that were measured before; `undefined` if there are none that can be used. */
export function loadKernels(source: KernelSource): KernelTable | undefined {
  const path = kernelCachePath(source);
  if (path === undefined) return undefined;
  try {
    return parseKernelTable(readSmallText(path) ?? "", source);
  } catch {
    return undefined; // a cache that cannot be read counts as absent
  }
}

/**
 * Keeps a table for later.
 *
 * @returns its path, or `undefined` if it could not be kept: nothing depends on a cache
 */
export function saveKernels(table: KernelTable): string | undefined {
  const path = kernelCachePath(table);
  if (path === undefined) return undefined;
  try {
    makeDirectory(dirname(path));
    replaceFile(path, new TextEncoder().encode(formatKernelTable(table)));
    return path;
  } catch (error) {
    if (error instanceof GraftError) return undefined;
    throw error;
  }
}
