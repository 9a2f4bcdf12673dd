/** Folders of merged models that are found again by what they are made of. */
import { join } from "@std/path";
import { digestOf } from "../lora/digest.ts";
import { adapterDigest } from "../model/adapter_dir.ts";
import { CERTIFICATE_FILE } from "../model/merge_adapters.ts";
import { exists } from "../system/durable_files.ts";
import { readSmallText } from "../system/small_file.ts";
import { VERSION } from "../version.ts";

const DIGITS = 24;

/**
 * A folder's name for the merge of an adapter: other files, another base or release give another name.
 *
 * @param baseDigest as `InferenceModel.digest`
 * @throws {BadInputError} for a folder that holds no adapter
 */
export function mergedFolderName(baseDigest: string, adapterPath: string): string {
  const parts = [baseDigest, adapterDigest(adapterPath), VERSION].join("\n");
  const digest = digestOf(new TextEncoder().encode(parts));
  return digest.slice("sha256:".length).slice(0, DIGITS);
}

/** Whether a name is one of {@linkcode mergedFolderName}. */
export function isMergedFolderName(name: string): boolean {
  return name.length === DIGITS && /^[0-9a-f]+$/.test(name);
}

/**
 * Share of the adapter's gain that a merged model keeps, by its certificate.
 *
 * @returns `undefined` if it was not measured, or the certificate is damaged
 */
export function certifiedGainKept(folder: string): number | undefined {
  const text = readSmallText(join(folder, CERTIFICATE_FILE));
  if (text === undefined) return undefined;
  try {
    const { method, candidates } = JSON.parse(text);
    const chosen = candidates.find((candidate: { method: unknown }) => candidate.method === method);
    return typeof chosen?.gain_kept === "number" ? chosen.gain_kept : undefined;
  } catch {
    return undefined; // the model, which was written before it, answers all the same
  }
}

/** Whether a folder has a merged model: a merge puts it in its place as a whole. */
export function hasMergedModel(folder: string): boolean {
  return exists(join(folder, CERTIFICATE_FILE));
}
