/** What root's verbs do in the service user's folder, where that user has put something else. */
import { assert, assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import { dirname, join } from "@std/path";
import { roundSettings } from "../../src/cli/service/round_settings.ts";
import rollback from "../../src/cli/service/service_rollback.ts";
import status from "../../src/cli/service/service_status.ts";
import { StorageError } from "../../src/errors.ts";
import { purge } from "../../src/service/install.ts";
import { checkRoundUser } from "../../src/service/round_user.ts";
import { settle } from "../../src/service/settle.ts";
import { readEarlier, readInUse, readJournal } from "../../src/service/state_files.ts";
import { testNeeding } from "../helpers/requirements.ts";
import { serviceFolder } from "../helpers/service_folder.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const UID = 61_184;
const testAsRoot = (title: string, body: () => Promise<void>) =>
  testNeeding(
    Deno.uid() === 0 ? undefined : "only root can act in a folder of somebody else",
    "GRAFT_REQUIRE_TOOLS",
    title,
    body,
  );

const terminal = { print() {}, note() {} };

function rollBack(state: string, to?: string): Promise<number> {
  // deno-lint-ignore no-explicit-any -- the verb asks for less of a terminal
  return rollback.run({ flags: { state, to }, given: new Set(), operands: [], terminal } as any);
}

function tool(program: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(program, { args }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** All that lies under a folder, with what is in it and whose it is. */
function listing(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) => {
    const path = join(folder, entry.name);
    const { mode, uid, size, mtime } = Deno.lstatSync(path);
    const line = [path, mode, uid, size, entry.isDirectory ? "" : mtime?.getTime()].join(" ");
    if (entry.isFile) return [`${line} ${Deno.readTextFileSync(path)}`];
    return entry.isDirectory ? [line, ...listing(path)] : [line];
  }).sort();
}

/** What the user may put in a file's or folder's place; each leads to, or is, what root must not touch. */
const TRAPS: Readonly<Record<string, (path: string, outside: string) => void>> = {
  "link to a file": (path, outside) => Deno.symlinkSync(join(outside, "file"), path),
  "link to a folder": (path, outside) => Deno.symlinkSync(join(outside, "folder"), path),
  "link to nothing": (path, outside) => Deno.symlinkSync(join(outside, "new"), path),
  "hard link": (path, outside) => Deno.linkSync(join(outside, "file"), path),
  "pipe": (path) => tool("mkfifo", path),
  "device": (path) => tool("mknod", path, "c", "1", "5"), // /dev/zero, which has no end
  "folder": (path) => Deno.mkdirSync(path),
};

const INSTALL_PATHS = [
  ...["journal", ".unfinished-journal", "current", ".unfinished-current"],
  ...[".unfinished-current-removed", "cycles", "models", "models/0001", "models/0001/model"],
  ...["models/.unfinished-0001-removed", "cycles/.unfinished-x", "data"],
];

/**
 * A service's folder of another user in `inside`, and files of root in `outside`, which all may reach and
 * write: that user's rights alone keep nothing from them.
 */
function prepare(root: string): { readonly inside: string; readonly outside: string } {
  const [inside, outside] = [join(root, "inside"), join(root, "outside")];
  serviceFolder(inside);
  tool("chown", "-R", "-h", `${UID}:${UID}`, inside);
  Deno.mkdirSync(join(outside, "folder"), { recursive: true });
  for (const name of ["file", "folder/file"]) {
    Deno.writeTextFileSync(join(outside, name), "root's");
    Deno.chmodSync(join(outside, name), 0o666);
  }
  for (const folder of [root, outside, join(outside, "folder")]) Deno.chmodSync(folder, 0o777);
  return { inside, outside };
}

async function failureOf(action: () => unknown): Promise<unknown> {
  try {
    await action();
  } catch (error) {
    return error;
  }
}

testAsRoot(
  "root's verbs change nothing outside of the service's folder, whatever lies in it, and end",
  () =>
    inTempDir(async (path) => {
      let refused = 0;
      prepare(join(path, "all"));
      Deno.chmodSync(path, 0o755);
      for (const place of INSTALL_PATHS) {
        for (const [kind, trap] of Object.entries(TRAPS)) {
          const what = `${kind} in the place of ${place}`;
          const copy = join(path, what.replaceAll("/", "_"));
          tool("cp", "-a", join(path, "all"), copy);
          const [inside, outside] = [join(copy, "inside"), join(copy, "outside")];
          const at = join(inside, place);
          try {
            Deno.removeSync(at, { recursive: true });
          } catch {
            // an unfinished one is not there
          }
          trap(at, outside);
          const before = listing(outside);
          const events: string[] = [];
          settle(inside, (_, message) => events.push(message));
          const failures = [
            await failureOf(() => rollBack(inside)),
            await failureOf(() => rollBack(inside, "0001")),
            await failureOf(() => readJournal(inside)),
            await failureOf(() => readInUse(inside)),
            await failureOf(() => readEarlier(inside)),
          ].filter((failure) => failure !== undefined);
          assertEquals(listing(outside), before, what);
          for (const failure of failures) {
            const { exitCode, message } = failure as StorageError;
            assert([2, 74].includes(exitCode), `${what}: ${failure}`);
            if (exitCode === 74) assert(message.includes(inside), message);
          }
          if (failures.length > 0) refused++;
        }
      }
      assert(refused >= 25, `refused: ${refused}`);
    }),
);

testAsRoot(
  "graft service rollback says what lies in the journal's place",
  () =>
    inTempDir(async (path) => {
      const { inside, outside } = prepare(path);
      Deno.removeSync(join(inside, "journal"));
      Deno.symlinkSync(join(outside, "file"), join(inside, "journal"));
      const failure = await failureOf(() => rollBack(inside));
      assertInstanceOf(failure, StorageError);
      assertMatch(
        (failure as StorageError).message,
        /journal: it is a symbolic link where the service keeps a file:/,
      );
      // deno-lint-ignore no-explicit-any -- the verb asks for less of a terminal
      const call = { flags: { state: inside, last: 10, json: false }, terminal } as any;
      assertInstanceOf(await failureOf(() => status.run(call)), StorageError);
    }),
);

testAsRoot(
  "what root's rollback writes belongs to the service's user",
  () =>
    inTempDir(async (path) => {
      const { inside } = prepare(path);
      Deno.removeSync(join(inside, "journal"));
      assertEquals(await rollBack(inside, "0001"), 0);
      assertEquals(readInUse(inside).name, "0001");
      const { uid, gid } = Deno.statSync(join(inside, "journal"));
      assertEquals([uid, gid, Deno.lstatSync(join(inside, "current")).uid], [UID, UID, UID]);
      // Whatever root did there, it is root again.
      Deno.writeTextFileSync(join(path, "own"), "");
      assertEquals(Deno.statSync(join(path, "own")).uid, 0);
    }),
);

testAsRoot("a round is refused to root in another user's folder", () =>
  inTempDir((path) => {
    const { inside } = prepare(path);
    const error = assertThrows(
      () => checkRoundUser(inside),
      StorageError,
      `belongs to user ${UID}`,
    );
    assertMatch(error.message, /systemctl start graft-train/);
    checkRoundUser(path);
    checkRoundUser(join(path, "none"));
    const flags = { state: inside, model: "none", promoteMargin: 0, keep: 1 };
    // deno-lint-ignore no-explicit-any -- it asks for less of a terminal
    assertThrows(() => roundSettings(flags, new Set(), terminal as any), StorageError, "root must");
  }));

testAsRoot(
  "purge() removes links, pipes and devices, and not what they lead to",
  () =>
    inTempDir((path) => {
      const { inside, outside } = prepare(path);
      for (const [kind, trap] of Object.entries(TRAPS)) trap(join(inside, "models", kind), outside);
      // As systemd keeps it: behind a link.
      const behind = join(path, "private/state");
      Deno.mkdirSync(dirname(behind));
      Deno.renameSync(inside, behind);
      Deno.symlinkSync("private/state", join(path, "state"));
      const before = listing(outside);
      purge(join(path, "state"), () => {});
      assertEquals([...Deno.readDirSync(join(path, "private"))], []);
      assertEquals(listing(outside), before);
    }),
);
