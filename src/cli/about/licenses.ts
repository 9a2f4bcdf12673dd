/** `graft licenses`: prints graft's own licence, and the notices of its contents. */
import { EXIT } from "../../errors.ts";
import { CARRIED, carriedPath, findAppended, readRange } from "../../system/embedded.ts";
import { command } from "../command.ts";
import { underlined } from "../terminal/format.ts";

export default command({
  name: "licenses",
  summary: "Print graft's licence and the notices of its contents",
  flags: {},
  examples: [{ command: "graft licenses | less", does: "shows them page by page" }],
  run({ terminal }) {
    const { legal, packageLicenses, crateLicenses } = CARRIED;
    const inBinary = Deno.build.standalone ? [packageLicenses, crateLicenses] : [];
    for (const name of [...legal, ...inBinary]) {
      terminal.print(Deno.readTextFileSync(carriedPath(name)));
    }
    const notices = findAppended(carriedPath(CARRIED.libraryNotices));
    if (notices !== undefined) {
      terminal.print(`${underlined("Notices of what is in ONNX Runtime's library")}\n`);
      terminal.print(new TextDecoder().decode(readRange(notices)));
    }
    return Promise.resolve(EXIT.ok);
  },
});
