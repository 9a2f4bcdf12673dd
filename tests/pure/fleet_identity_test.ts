import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { createPrivateKey, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { decodeBase64, decodeBase64Url, encodeBase64 } from "@std/encoding";
import { BadInputError, UsageError } from "../../src/errors.ts";
import { NodeIdentity } from "../../src/fleet/flower/identity.ts";
import { checkFlowerVersion } from "../../src/fleet/flower/version.ts";
import { SuperLinkError } from "../../src/fleet/flower/fleet_error.ts";
import { superLinkUrl } from "../../src/cli/fleet/superlink_url.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** A string of SSH's formats. */
function withLength(bytes: Uint8Array): number[] {
  return [bytes.length >> 24, bytes.length >> 16, bytes.length >> 8, bytes.length, ...bytes]
    .map((byte) => byte & 0xff);
}

/** A private key as `ssh-keygen -N ""` writes it; other words say that it is something else. */
function openSsh(pem: string, cipher = "none", curve = "nistp384"): string {
  const jwk = createPrivateKey(pem).export({ format: "jwk" });
  const [x, y, d] = [jwk.x, jwk.y, jwk.d].map((part) => decodeBase64Url(String(part)));
  const point = withLength(Uint8Array.of(4, ...x, ...y));
  const names = [utf8(`ecdsa-sha2-${curve}`), utf8(curve)].flatMap(withLength);
  // SSH's whole numbers have a zero before a first bit of one.
  const secret = [1, 2, 3, 4, 1, 2, 3, 4, ...names, ...point];
  secret.push(...withLength(Uint8Array.of(...(d[0] > 127 ? [0] : []), ...d)));
  secret.push(...withLength(utf8("a comment")), 1, 2, 3);
  const bytes = [
    ...utf8("openssh-key-v1\0"),
    ...[cipher, "none", ""].flatMap((word) => withLength(utf8(word))),
    ...[0, 0, 0, 1],
    ...withLength(Uint8Array.of(...names, ...point)),
    ...withLength(Uint8Array.from(secret)),
  ];
  const lines = encodeBase64(Uint8Array.from(bytes)).match(/.{1,70}/g)!.join("\n");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

Deno.test("NodeIdentity signs the time so that the public key it sends verifies it", () => {
  const identity = NodeIdentity.generate();
  const headers = identity.headers(new Date(1_800_000_000_123));
  assertEquals(headers["flwr-timestamp"], "2027-01-15T08:00:00.123+00:00");
  const pem = new TextDecoder().decode(decodeBase64(headers["flwr-public-key"]));
  assert(verify(
    "sha256",
    new TextEncoder().encode(headers["flwr-timestamp"]),
    createPublicKey(pem),
    decodeBase64(headers["flwr-signature"]),
  ));
});

Deno.test("NodeIdentity reads keys of OpenSSH and its own, and formats the public key as OpenSSH", () => {
  // Enough keys for coordinates that begin with zeros or ones.
  for (let i = 0; i < 8; i++) {
    const identity = NodeIdentity.generate();
    const pem = identity.format();
    assertEquals(NodeIdentity.parse(pem, "key").publicKey, identity.publicKey);
    assertEquals(NodeIdentity.parse(openSsh(pem), "key").publicKey, identity.publicKey);
    const [type, base64, comment] = identity.formatPublic("box").split(" ");
    assertEquals([type, comment], ["ecdsa-sha2-nistp384", "box\n"]);
    const { x, y } = createPublicKey(pem).export({ format: "jwk" });
    const coordinates = [...decodeBase64Url(String(x)), ...decodeBase64Url(String(y))];
    assertEquals([...decodeBase64(base64).subarray(-96)], coordinates);
  }
});

Deno.test("NodeIdentity refuses damaged keys and other kinds, and says how to make one", () => {
  const pem = NodeIdentity.generate().format();
  const whole = openSsh(pem);
  const other = generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey
    .export({ type: "pkcs8", format: "pem" }) as string;
  const texts = [
    ...["", whole.slice(0, 200), whole.replace("b3Bl", "b3Bm"), pem.slice(0, 100), other],
    ...[openSsh(pem, "aes256-ctr"), openSsh(pem, "none", "nistp256")],
  ];
  for (const text of texts) {
    assertThrows(() => NodeIdentity.parse(text, "key"), BadInputError, "ssh-keygen -t ecdsa");
  }
});

Deno.test("checkFlowerVersion() takes 1.40 to 1.42 only", () => {
  for (const version of ["1.40.0", "1.41.2", "1.42.0", "1.42.0.dev20261101"]) {
    checkFlowerVersion(version, "https://x");
  }
  for (const version of ["1.39.9", "1.43.0", "2.0.0", "0.42.0", "unknown"]) {
    assertThrows(() => checkFlowerVersion(version, "https://x"), SuperLinkError, ">=1.40,<1.43");
  }
});

Deno.test("superLinkUrl() takes addresses with and without a scheme, and plain HTTP only when told", () => {
  assertEquals(superLinkUrl("https://a.example:8000", false), "https://a.example:8000");
  assertEquals(superLinkUrl("a.example:8000", false), "https://a.example:8000");
  assertEquals(superLinkUrl("127.0.0.1:8000", true), "http://127.0.0.1:8000");
  assertMatch(superLinkUrl("[::1]:8000", true), /^http:\/\/\[::1\]:8000$/);
  for (
    const [address, insecure] of [
      ["http://a:8000", false],
      ["https://a:8000", true],
      ["https://a:8000/v1", false],
      ["https://me@a:8000", false],
      ["ftp://a", false],
      ["", false],
    ] as const
  ) assertThrows(() => superLinkUrl(address, insecure), UsageError);
});
