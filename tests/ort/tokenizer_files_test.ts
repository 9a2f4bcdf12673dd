import { assertThrows } from "@std/assert";
import { join } from "@std/path";
import { BadInputError } from "../../src/errors.ts";
import { readTextFiles } from "../../src/model/tokenizer_files.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

Deno.test("readTextFiles() reads no file of more bytes than it may have, and says how many", () =>
  inTempDir((folder) => {
    for (const [name, most] of [["tokenizer.json", 64], ["tokenizer_config.json", 16]] as const) {
      const path = join(folder, name);
      Deno.writeTextFileSync(path, "{}");
      readTextFiles(folder);
      // A hole: it takes no space on the disk.
      Deno.truncateSync(path, (most << 20) + 1);
      assertThrows(
        () => readTextFiles(folder),
        BadInputError,
        `${path}: it may have at most ${most << 20} bytes: current value is ${(most << 20) + 1}`,
      );
      Deno.truncateSync(path, 2);
    }
  }));
