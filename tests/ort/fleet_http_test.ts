import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  RunEndedError,
  SuperLinkError,
  UnknownNodeError,
} from "../../src/fleet/flower/fleet_error.ts";
import { firstTimeoutMs, FleetHttp } from "../../src/fleet/flower/fleet_http.ts";
import { FleetNode } from "../../src/fleet/flower/fleet_node.ts";
import { NodeIdentity } from "../../src/fleet/flower/identity.ts";
import { flowerSchema } from "../../src/fleet/flower/proto.ts";

type Answer = (request: Request, path: string) => Response | Promise<Response>;

const identity = NodeIdentity.generate();

/** Talks to something that answers in a SuperLink's place. */
async function withServer(
  answer: Answer,
  body: (http: FleetHttp, notes: string[]) => Promise<void>,
): Promise<void> {
  const notes: string[] = [];
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => answer(request, new URL(request.url).pathname.split("/").at(-1)!),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  using http = new FleetHttp({ url, identity, onRetry: (line) => notes.push(line) });
  await body(http, notes);
}

/** Bytes of a message of the table. */
const encoded = (bytes: Uint8Array) => new Response(bytes as Uint8Array<ArrayBuffer>);

function activated(nodeId: bigint): Response {
  const schema = flowerSchema("ActivateNodeResponse");
  return encoded(toBinary(schema, create(schema, { nodeId })));
}

const refusal = (code: number, status = 412) =>
  new Response(JSON.stringify({ code, detail: "Because\x1b[31m" }), { status });

const pull = { node: { nodeId: 1n } };

Deno.test("FleetHttp.call() tries again while a server is not there, and says so once", () => {
  let calls = 0;
  return withServer(
    () => ++calls < 3 ? new Response(null, { status: 503 }) : encoded(new Uint8Array()),
    async (http, notes) => {
      const answer = await http.call("pull-messages", pull);
      assertEquals(answer.messagesList, []);
      assertEquals(calls, 3);
      assertEquals(notes.length, 2);
      assertStringIncludes(notes[0], "cannot be reached (status 503)");
    },
  );
});

Deno.test("firstTimeoutMs() is two minutes after an answer that took more than half a minute, else one", () =>
  assertEquals([0, 1000, 29_000, 31_000, 60_000].map(firstTimeoutMs), [
    60_000,
    60_000,
    60_000,
    120_000,
    120_000,
  ]));

Deno.test("FleetHttp.call() ends when it is told to, also while it waits for another try", () =>
  withServer(() => new Response(null, { status: 503 }), async (http) => {
    const stop = new AbortController();
    const call = http.call("pull-messages", pull, { signal: stop.signal });
    setTimeout(() => stop.abort(new Error("enough")), 50);
    await assertRejects(() => call, Error, "enough");
  }));

Deno.test("FleetHttp.call() takes no more than its limit, whatever the server sends", async () => {
  let sent = 0;
  const endless = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          sent += 65_536;
          controller.enqueue(new Uint8Array(65_536));
        },
      }),
    );
  await withServer(endless, async (http) => {
    await assertRejects(
      () => http.call("pull-messages", pull, { limit: 100_000 }),
      SuperLinkError,
      "exceeds 100000 bytes",
    );
    assert(sent < 16 << 20, String(sent));
  });
});

Deno.test("FleetHttp.call() follows no redirect, reads no page, and tells a server's words without controls", async () => {
  const signed: string[] = [];
  const elsewhere: Answer = (request, path) => {
    if (path === "elsewhere") signed.push(request.headers.get("flwr-signature") ?? "");
    return new Response(null, { status: 307, headers: { location: "/elsewhere" } });
  };
  await withServer(elsewhere, async (http) => {
    await assertRejects(() => http.call("pull-messages", pull), SuperLinkError, "status 307");
    assertEquals(signed, []);
  });
  await withServer(() => new Response("<html>"), async (http) => {
    await assertRejects(() => http.call("pull-messages", pull), SuperLinkError, "1.40 to 1.42");
  });
  await withServer(() => refusal(2), async (http) => {
    const error = await assertRejects(() => http.call("pull-messages", pull), SuperLinkError);
    assertStringIncludes(error.message, "Because [31m");
    assertEquals(error.flowerCode, 2);
  });
});

Deno.test("FleetHttp.call() tells an ended run, an unknown node and a wrong clock apart", async () => {
  await withServer(() => refusal(1, 403), async (http) => {
    await assertRejects(() => http.call("pull-messages", pull), RunEndedError);
  });
  await withServer(() => refusal(1, 401), async (http) => {
    await assertRejects(() => http.call("pull-messages", pull), UnknownNodeError);
  });
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  await withServer(
    () => new Response(null, { status: 401, headers: { date } }),
    async (http) => {
      const call = http.call("pull-messages", pull, { tries: 1 });
      await assertRejects(() => call, SuperLinkError, "s behind");
    },
  );
});

Deno.test("FleetNode joins anew when a SuperLink has lost its database, and keeps its node when it has not", async () => {
  const ids: bigint[] = [];
  let node = 5n;
  const forgetful: Answer = async (request, path) => {
    if (path === "activate-node") return activated(node);
    if (path === "register-node") return encoded(new Uint8Array());
    if (path === "deactivate-node") return encoded(new Uint8Array());
    const bytes = new Uint8Array(await request.arrayBuffer());
    // The node's number is all that the request has.
    const isKnown = bytes.at(-1) === Number(node);
    return isKnown ? encoded(new Uint8Array()) : new Response(null, { status: 401 });
  };
  await withServer(forgetful, async (http) => {
    const box = new FleetNode(http, { identity, onId: (id) => ids.push(id) });
    await box.join();
    assertEquals(await box.receive(), undefined);
    node = 6n;
    assertEquals(await box.receive(), undefined);
    assertEquals(ids, [5n, 6n]);
    await box.leave({ tell: true });
  });
  // A box that was killed is active still: its heartbeats are taken.
  const alive: Answer = (_, path) => {
    if (path === "register-node") return refusal(23);
    if (path === "activate-node") return refusal(2004);
    const schema = flowerSchema("SendNodeHeartbeatResponse");
    return encoded(toBinary(schema, create(schema, { success: true })));
  };
  await withServer(alive, async (http) => {
    const box = new FleetNode(http, { identity, knownId: 9n });
    await box.join();
    assertEquals(box.id, 9n);
    await box.leave({ tell: false });
  });
});

Deno.test("FleetNode joins where a SuperLink has activated it without an answer", async () => {
  let activations = 0;
  const slow: Answer = (_, path) => {
    if (path === "register-node") return encoded(new Uint8Array());
    return ++activations < 2 ? refusal(2004) : activated(7n);
  };
  await withServer(slow, async (http) => {
    const box = new FleetNode(http, { identity });
    await box.join();
    assertEquals(box.id, 7n);
    await box.leave({ tell: false });
  });
});

Deno.test("FleetNode waits for what a server has announced until the message expires", async () => {
  let asked = 0;
  const slow: Answer = () => {
    asked++;
    const schema = flowerSchema("PullObjectResponse");
    return encoded(toBinary(schema, create(schema, { objectFound: true, objectAvailable: false })));
  };
  await withServer(slow, async (http) => {
    const box = new FleetNode(http, { identity });
    const expires = Date.now() / 1000 + 1.2;
    const header = {
      ...{ runId: 1n, messageId: "ab", from: 1n, to: 2n, group: "1", type: "train" },
      expires,
    };
    const wanted = { configs: [], arrays: new Map() };
    await assertRejects(() => box.fetch(header, wanted, 1), RunEndedError);
    assert(Date.now() / 1000 > expires && asked > 1, `${asked}`);
  });
});

Deno.test("FleetNode says what to register where a SuperLink takes known boxes only", () => {
  const closed: Answer = (_, path) => refusal(path === "register-node" ? 2001 : 2004);
  return withServer(closed, async (http) => {
    const box = new FleetNode(http, { identity });
    await assertRejects(() => box.join(), SuperLinkError, "flwr supernode register key.pub");
  });
});
