/** `graft --version`: versions of graft and its parts. */
import { RuntimeFailure } from "../../errors.ts";
import { describeLibrary } from "../../runtime/providers.ts";
import { buildNotes } from "../../system/embedded.ts";
import { VERSION } from "../../version.ts";

/**
 * graft's version and commit, Deno's, ONNX Runtime's with its execution providers.
 *
 * @param note called if the library of a binary cannot be stored on the disk
 */
export function versionLines(note: (line: string) => void): string[] {
  const { commit } = buildNotes();
  const origin = Deno.build.standalone ? `commit ${commit ?? "unknown"}` : "from its source";
  return [
    `graft ${VERSION} (${origin})`,
    `Deno ${Deno.version.deno}, ${Deno.build.target}`,
    runtimeLine(note),
  ];
}

/** A line on ONNX Runtime; an unusable library does not suppress the other lines. */
function runtimeLine(note: (line: string) => void): string {
  try {
    return describeLibrary(Deno.env.get("GRAFT_ORT_LIB"), note);
  } catch (error) {
    if (!(error instanceof RuntimeFailure)) throw error;
    return `ONNX Runtime: none: ${error.message}`;
  }
}
