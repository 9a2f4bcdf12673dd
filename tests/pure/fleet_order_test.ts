import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { openOrder, sealOrder } from "../../src/fleet/release/envelope.ts";
import { parseSigningKey, parseTrustedKeys } from "../../src/fleet/release/keys.ts";
import { decodeOrder, encodeOrder, PIECE_BYTES } from "../../src/fleet/release/order.ts";
import { decodeReport, encodeReport } from "../../src/fleet/release/report.ts";
import { keyPair, orderOf, releaseOf, reportOf } from "../helpers/releases.ts";

const text = new TextEncoder();

// deno-lint-ignore no-explicit-any -- any field is changed to anything
type Change = (json: any) => void;

/** An order's JSON with something else in it. */
function changed(change: Change): Uint8Array {
  const json = JSON.parse(new TextDecoder().decode(encodeOrder(orderOf())));
  change(json);
  return text.encode(JSON.stringify(json));
}

Deno.test("openOrder() gives back what sealOrder() signed", () => {
  const { key, keys } = keyPair();
  const order = orderOf();
  assertEquals(openOrder(sealOrder(order, key), keys, "graft", "here"), order);
  const none = orderOf({ target: null, withdrawn: ["0".repeat(64)] });
  assertEquals(openOrder(sealOrder(none, key), keys, "graft", "here"), none);
});

Deno.test("openOrder() refuses orders that are changed, of another key, another fleet, or no orders", () => {
  const { key, keys } = keyPair();
  const sealed = sealOrder(orderOf(), key);
  const other = keyPair();
  const refused = (bytes: Uint8Array, why: string, trusted = keys, fleet = "graft") => {
    const { message } = assertThrows(() => openOrder(bytes, trusted, fleet, "here"), BadInputError);
    assertStringIncludes(message, why);
    assertStringIncludes(message, "here");
  };
  refused(sealed, "no trusted key has signed", other.keys);
  refused(sealed, 'for the fleet "graft", and this is "mills"', keys, "mills");
  const json = JSON.parse(new TextDecoder().decode(sealed));
  const payload = btoa(atob(json.payload).replace('"sequence":7', '"sequence":8'));
  refused(text.encode(JSON.stringify({ ...json, payload })), "no trusted key has signed");
  // A signature of another key under the id of a trusted one.
  const [{ sig }] =
    JSON.parse(new TextDecoder().decode(sealOrder(orderOf(), other.key))).signatures;
  const forged = { ...json, signatures: [{ keyid: key.id, sig }] };
  refused(text.encode(JSON.stringify(forged)), "no trusted key has signed");
  refused(text.encode(JSON.stringify({ ...json, signatures: [] })), "signed by nobody");
  for (const bytes of [text.encode("{}"), text.encode("null"), sealed.subarray(0, 300)]) {
    refused(bytes, "it is no signed order");
  }
  refused(new Uint8Array(2 ** 20), "at most");
});

Deno.test("decodeOrder() refuses names that leave the release's folder, wrong sizes and too much of anything", () => {
  const names = [
    "../adapter/a",
    "/etc/passwd",
    "adapter/../../a",
    "adapter/./a",
    "adapter//a",
    "adapter/.hidden",
    "adapter/a b",
    "adapter/a\\b",
    "adapter/\u0000",
    "model/a",
    "journal",
    "data",
    `adapter/${"a".repeat(300)}`,
    "adapter/__proto__/../x",
    7,
  ];
  for (const name of names) {
    const bytes = changed(({ target }) => target.files[0].name = name);
    assertThrows(() => decodeOrder(bytes, "here"), BadInputError, "the file name");
  }
  const problems: [string, Change][] = [
    ["pieces of adapter/a.safetensors for", ({ target }) => target.files[0].sizeBytes = 1e15],
    ["no valid size or pieces", ({ target }) => target.files[0].sizeBytes = -1],
    ["no valid size or pieces", ({ target }) => target.files[0].pieces = ["../x"]],
    ["twice, or as a folder", ({ target }) => target.files.push(target.files[0])],
    ['no valid "target"', ({ target }) => target.files = []],
    ['no valid "target"', ({ target }) => target.name = "a/b"],
    ['no valid "target"', ({ target }) => target.kind = "script"],
    ['no valid "target"', ({ target }) => target.files = Array(65).fill(target.files[0])],
    ['no valid "sequence"', (json) => json.sequence = 1.5],
    ['no valid "open"', (json) => json.open = 2],
    ['no valid "waves"', (json) => json.waves = ["0%"]],
    ['no valid "wave"', (json) => json.wave = 2],
    ['no valid "policy"', (json) => json.policy.maxRejected = "1"],
    ['no valid "withdrawn"', (json) => json.withdrawn = Array(257).fill("0".repeat(64))],
    ["the format", (json) => json.format = "graft-order/2"],
  ];
  for (const [why, change] of problems) {
    const { message } = assertThrows(() => decodeOrder(changed(change), "here"), BadInputError);
    assertStringIncludes(message, why);
  }
  const nested = {
    ...releaseOf("a"),
    files: ["adapter/a", "adapter/a/b"].map((name) => ({ name, sizeBytes: 0, pieces: [] })),
  };
  assertThrows(
    () => decodeOrder(encodeOrder(orderOf({ target: nested })), "here"),
    BadInputError,
    "as a folder",
  );
  const pieces = Array(20_000).fill("0".repeat(64));
  const huge = {
    ...releaseOf("a"),
    files: [{ name: "adapter/a", sizeBytes: PIECE_BYTES * 20_000, pieces }],
  };
  assertThrows(
    () => encodeOrder(orderOf({ target: huge })),
    BadInputError,
    "too many files or pieces",
  );
});

Deno.test("parseTrustedKeys() takes several public keys, and refuses a private one and other kinds", () => {
  const [a, b] = [keyPair(), keyPair()];
  assertEquals([...parseTrustedKeys(a.publicKey + b.publicKey, "keys").keys()], [
    a.key.id,
    b.key.id,
  ]);
  const secret = a.key.key.export({ type: "pkcs8", format: "pem" }) as string;
  assertThrows(() => parseTrustedKeys(secret, "keys"), BadInputError, "this is the private key");
  assertThrows(() => parseTrustedKeys("nothing", "keys"), BadInputError, "no public key");
  const broken = a.publicKey.replace(/\n[^-]{8}/, "\nAAAAAAAA");
  assertThrows(() => parseTrustedKeys(broken, "keys"), BadInputError, "no Ed25519 public key");
  assertThrows(() => parseSigningKey(a.publicKey, "key"), BadInputError, "one Ed25519 private key");
});

Deno.test("decodeReport() takes a box's own report alone, and nothing but its fields", () => {
  const report = reportOf("mill-1", orderOf(), "rejected", { loss: 2, lossInUse: 1, why: "worse" });
  assertEquals(
    JSON.parse(JSON.stringify(decodeReport(encodeReport(report), "mill-1"))),
    JSON.parse(JSON.stringify(report)),
  );
  assertEquals(decodeReport(encodeReport(report), "mill-2"), undefined);
  const bad = [
    { ...report, state: "constructor" },
    { ...report, inUse: "\u001b[2J" },
    { ...report, loss: "1" },
    { ...report, release: "../x" },
    null,
    [],
  ];
  for (const value of bad) {
    assertEquals(decodeReport(text.encode(JSON.stringify(value)), "mill-1"), undefined);
  }
  const more = text.encode(JSON.stringify({ ...report, extra: 1 }));
  assert(!("extra" in decodeReport(more, "mill-1")!));
  assertEquals(
    decodeReport(text.encode(`{"box":"mill-1","why":"${"x".repeat(9000)}"}`), "mill-1"),
    undefined,
  );
});
