/** `graft licenses`: graft's own licence, and the notices of all that it carries. */
import { EXIT } from "../errors.ts";
import { CARRIED, carriedPath, findAppended, readStretch } from "../system/embedded.ts";
import { command } from "./command.ts";

/** Files of the checkout, and in a binary those of its packages and of its runtime's crates. */
const FILES = ["LICENSE", "THIRD_PARTY_NOTICES"];
const BINARY_FILES = [...FILES, "PACKAGE_LICENSES", "CRATE_LICENSES"];

export default command({
  name: "licenses",
  summary: "Print graft's licence and the notices of what it carries",
  flags: {},
  examples: [{ command: "graft licenses | less", does: "shows them page by page" }],
  run({ terminal }) {
    for (const name of Deno.build.standalone ? BINARY_FILES : FILES) {
      terminal.print(Deno.readTextFileSync(carriedPath(name)));
    }
    const notices = findAppended(carriedPath(CARRIED.libraryNotices));
    if (notices !== undefined) {
      const heading = "Notices of what is in ONNX Runtime's library";
      terminal.print(`${heading}\n${"-".repeat(heading.length)}\n`);
      terminal.print(new TextDecoder().decode(readStretch(notices)));
    }
    return Promise.resolve(EXIT.ok);
  },
});
