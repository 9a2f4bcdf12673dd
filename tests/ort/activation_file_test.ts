import { assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { StorageError } from "../../src/errors.ts";
import {
  ActivationFile,
  type ActivationFileEvent,
  type ActivationFileOptions,
} from "../../src/train/activation_file.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const KEYS = ["00", "a1", "ff"].map((byte) => byte.repeat(16));
const HEADER_BYTES = 48;
const RECORD_BYTES = 36 + 100;

/** 100 bytes that differ with the seed. */
function contentOf(seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: 100 }, (_, i) => seed * 31 + i);
}

function open(path: string, how: Partial<ActivationFileOptions> = {}): ActivationFile {
  const options = { identity: "model", limitBytes: 1e6, resume: true, ...how };
  return ActivationFile.open(path, options)!;
}

function read(file: ActivationFile, key: string): Uint8Array | undefined {
  const into = new Uint8Array(100);
  return file.get(key, into) ? into : undefined;
}

/** Makes a file with a record for each key. */
function write(path: string): void {
  using file = open(path, { resume: false });
  KEYS.forEach((key, i) => file.put(key, contentOf(i)));
}

/** Runs with a file that has a record for each key. */
function withRecords(body: (path: string) => void): Promise<void> {
  return inTempDir((folder) => {
    const path = join(folder, "activations");
    write(path);
    body(path);
    return Promise.resolve();
  });
}

Deno.test("ActivationFile gives a later run what an earlier one has put, whatever the order", () =>
  withRecords((path) => {
    using file = open(path);
    assertEquals(file.count, 3);
    for (const i of [2, 0, 1, 0]) assertEquals(read(file, KEYS[i]), contentOf(i));
    assertEquals(read(file, "12".repeat(16)), undefined);
    // What is there stays as it was put first.
    file.put(KEYS[0], contentOf(9));
    assertEquals(read(file, KEYS[0]), contentOf(0));
    assertEquals(file.sizeBytes, Deno.statSync(path).size);
  }));

Deno.test("ActivationFile begins anew without a resume, and for another identity", () =>
  withRecords((path) => {
    for (const how of [{ resume: false }, { identity: "another model" }]) {
      write(path);
      using file = open(path, how);
      assertEquals(file.count, 0);
      assertEquals(Deno.statSync(path).size, HEADER_BYTES);
    }
    Deno.writeTextFileSync(path, "something else");
    using file = open(path);
    assertEquals(file.count, 0);
  }));

Deno.test("ActivationFile forgets a damaged record, tells it once and takes it anew", () =>
  withRecords((path) => {
    const bytes = Deno.readFileSync(path);
    for (const i of [0, 1]) bytes[HEADER_BYTES + i * RECORD_BYTES + 36 + 50] ^= 1;
    Deno.writeFileSync(path, bytes);
    const events: ActivationFileEvent[] = [];
    {
      using file = open(path, { onEvent: (event) => events.push(event) });
      assertEquals(KEYS.map((key) => read(file, key)), [undefined, undefined, contentOf(2)]);
      file.put(KEYS[0], contentOf(0));
      assertEquals(read(file, KEYS[0]), contentOf(0));
    }
    assertEquals(events, [{ kind: "damaged" }]);
    using again = open(path);
    assertEquals(KEYS.map((key) => read(again, key)), [contentOf(0), undefined, contentOf(2)]);
  }));

Deno.test("ActivationFile reads the whole records of a file that was cut off anywhere", () =>
  withRecords((path) => {
    const bytes = Deno.readFileSync(path);
    for (let size = 0; size < bytes.length; size++) {
      Deno.writeFileSync(path, bytes.subarray(0, size));
      using file = open(path);
      const whole = Math.max(0, Math.floor((size - HEADER_BYTES) / RECORD_BYTES));
      assertEquals(file.count, whole, `cut at ${size}`);
      KEYS.forEach((key, i) => file.put(key, contentOf(i)));
      assertEquals(KEYS.map((key) => read(file, key)), [0, 1, 2].map(contentOf));
    }
  }));

Deno.test("ActivationFile grows up to its limit, which a resume does not raise", () =>
  inTempDir((folder) => {
    const path = join(folder, "activations");
    const limitBytes = HEADER_BYTES + 2 * RECORD_BYTES + 50;
    const events: ActivationFileEvent[] = [];
    const onEvent = (event: ActivationFileEvent) => events.push(event);
    const fill = (file: ActivationFile) => {
      for (const [i, key] of KEYS.entries()) file.put(key, contentOf(i));
      assertEquals(KEYS.map((key) => read(file, key)), [contentOf(0), contentOf(1), undefined]);
      file.put(KEYS[2], contentOf(2));
    };
    {
      using file = open(path, { limitBytes, resume: false, onEvent });
      fill(file);
      // What is smaller may still find room.
      file.put(KEYS[2], new Uint8Array(14));
      assertEquals(file.count, 3);
      assertEquals(file.sizeBytes, limitBytes);
    }
    const sizeBytes = HEADER_BYTES + 2 * RECORD_BYTES;
    assertEquals(events, [{ kind: "full", sizeBytes, limitBytes }]);
    Deno.truncateSync(path, sizeBytes);
    using file = open(path, { limitBytes: 1e6 });
    assertEquals(file.limitBytes, limitBytes);
    fill(file);
    return Promise.resolve();
  }));

Deno.test("ActivationFile.open() leaves a file alone that another has open", () =>
  withRecords((path) => {
    const options = { identity: "model", limitBytes: 1e6, resume: false };
    {
      using file = open(path);
      assertEquals(ActivationFile.open(path, options), undefined);
      assertEquals(read(file, KEYS[1]), contentOf(1));
    }
    using file = open(path);
    assertEquals(file.count, 3);
  }));

Deno.test("ActivationFile.open() names the path where it cannot write", () =>
  withRecords((path) => {
    const error = assertThrows(() => open(join(path, "below")), StorageError);
    assertEquals(error.message.includes(join(path, "below")), true);
  }));

Deno.test("ActivationFile, closed or removed, has nothing and takes nothing", () =>
  withRecords((path) => {
    const file = open(path);
    file.remove();
    file.put(KEYS[0], contentOf(0));
    file.sync();
    assertEquals(read(file, KEYS[0]), undefined);
    assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
  }));
