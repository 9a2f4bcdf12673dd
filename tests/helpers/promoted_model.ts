/** Models in a service's folder, as rounds leave them there. */
import { join } from "@std/path";

/** Copies a model's files into a service's folder as one that it promoted; returns the model's folder. */
export function promotedModel(model: string, state: string, name: string): string {
  const folder = join(state, "models", name, "model");
  copyFolder(model, folder);
  return folder;
}

function copyFolder(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (isDirectory) copyFolder(join(from, name), join(to, name));
    else Deno.copyFileSync(join(from, name), join(to, name));
  }
}
