import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { StorageError } from "../../src/errors.ts";
import { fetchRelease } from "../../src/fleet/box/fetch_release.ts";
import { Follower } from "../../src/fleet/box/follower.ts";
import { Inbox } from "../../src/fleet/box/inbox.ts";
import { Outbox } from "../../src/fleet/box/outbox.ts";
import { sealOrder } from "../../src/fleet/release/envelope.ts";
import type { Order } from "../../src/fleet/release/order.ts";
import { decodeReport } from "../../src/fleet/release/report.ts";
import { FolderStore } from "../../src/fleet/store/folder_store.ts";
import { type KeyPair, keyPair, orderOf, releaseOf, reportOf } from "../helpers/releases.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const never = new AbortController().signal;

/** A box with its inbox and outbox, and a store that an operator, or somebody else, writes to. */
class Box {
  readonly store: FolderStore;
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  readonly pair: KeyPair = keyPair();
  handovers = 0;

  constructor(readonly path: string, readonly maxBytes = 1e6) {
    this.store = new FolderStore(join(path, "store"));
    this.inbox = new Inbox(join(path, "inbox"));
    this.outbox = new Outbox(join(path, "outbox"));
    void this.store.create();
  }

  /** Gives an order, with the release's text as its piece. */
  async give(order: Order, text: string | undefined, key = this.pair.key): Promise<void> {
    const piece = order.target?.files[0].pieces[0];
    if (piece !== undefined && text !== undefined) {
      await this.store.putPiece(piece, new TextEncoder().encode(text));
    }
    await this.store.putOrder(sealOrder(order, key), (await this.store.order())?.revision);
  }

  /** A process that looks once, as after each start; returns what the box reports. */
  async look() {
    const { keys } = this.pair;
    const settings = { box: "mill-1", fleet: "graft", keys, maxBytes: this.maxBytes, retryMs: 0 };
    const count = () => void this.handovers++;
    const follower = new Follower(this, settings, () => {}, count);
    await follower.look(never);
    await follower.sendReport();
    const bytes = (await this.store.reports()).get("mill-1");
    return bytes && decodeReport(bytes, "mill-1");
  }

  pieces(): string[] {
    return [...Deno.readDirSync(join(this.path, "inbox/pieces"))].map(({ name }) => name);
  }
}

Deno.test("Follower takes an order and its pieces into the inbox, and hands them over", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    assertEquals(await box.look(), undefined);
    const order = orderOf({ open: 0 });
    await box.give(order, "adapter");
    assertEquals((await box.look())?.state, "waiting");
    assertEquals([box.pieces(), box.inbox.ready()], [[], undefined]);
    await box.give({ ...order, sequence: 8, open: 1 }, "adapter");
    await box.look();
    const [piece] = order.target!.files[0].pieces;
    assertEquals([box.pieces(), box.inbox.ready()], [[piece], 8]);
    assertEquals(new TextDecoder().decode(box.inbox.piece(piece, 7)), "adapter");
    assert(box.handovers >= 2, `${box.handovers}`);
    // What the installing process says is passed on, and its pieces are not kept.
    box.outbox.write(reportOf("mill-1", { ...order, sequence: 8 }, "promoted", { loss: 0.5 }));
    const report = await box.look();
    assertEquals([report?.state, report?.loss, report?.sequence], ["promoted", 0.5, 8]);
    assertEquals(box.pieces(), []);
  }));

Deno.test("Follower refuses an old order that is sent again, a second one with its number, and other keys", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    await box.give(orderOf({ sequence: 9, open: 0 }), undefined);
    await box.look();
    const accepted = box.inbox.order();
    const refused: [Order, string, KeyPair?][] = [
      [orderOf({ sequence: 8, open: 0 }), "Order 8 is older than order 9"],
      [orderOf({ sequence: 9, open: 0, target: null }), "two orders with the number 9"],
      [orderOf({ sequence: 10 }), "no trusted key has signed", keyPair()],
      [orderOf({ sequence: 10, fleet: "mills" }), 'for the fleet "mills"'],
    ];
    for (const [order, why, other] of refused) {
      await box.give(order, "adapter", other?.key);
      const report = await box.look();
      assertEquals(report?.state, "refused");
      assertStringIncludes(report!.why!, why);
    }
    assertEquals(box.inbox.order(), accepted);
    assertEquals(box.pieces(), []);
    await box.give(orderOf({ sequence: 10, open: 0 }), undefined);
    assertEquals((await box.look())?.state, "waiting");
    // Without the record no order is taken for new.
    Deno.writeTextFileSync(join(path, "inbox/seen"), "{");
    await box.give(orderOf({ sequence: 11, open: 0 }), undefined);
    assertStringIncludes((await box.look())!.why!, "is damaged");
  }));

Deno.test("Follower reports a release whose pieces are missing, cut, longer or others, and writes none", () =>
  inTempDir(async (path) => {
    const box = new Box(path);
    let sequence = 20;
    const damaged: [string | undefined, string][] = [
      [undefined, "is missing"],
      ["adapt", "it ends after 5 of 7 bytes"],
      ["adapter, and more", "it has more than the 7 bytes"],
      ["adopter", "its SHA-256 is"],
    ];
    for (const [text, why] of damaged) {
      await box.give(orderOf({ sequence: sequence++ }), text);
      const report = await box.look();
      assertEquals(report?.state, "failed", why);
      assertStringIncludes(report!.why!, why);
      assertEquals(box.pieces(), []);
    }
    await box.give(orderOf({ sequence }), "adapter");
    await box.look();
    assertEquals(box.pieces().length, 1);
  }));

Deno.test("Follower fetches no release beyond the size allowed or the disk's space, and says so", () =>
  inTempDir(async (path) => {
    const box = new Box(path, 6);
    await box.give(orderOf(), "adapter");
    assertStringIncludes((await box.look())!.why!, "has 7 bytes, and maxSize allows 6");
    const allowing = (free: number) => ({ maxBytes: 1e6, signal: never, free });
    const { message } = await assertRejects(
      () => fetchRelease(box.store, box.inbox, releaseOf("adapter"), allowing(2 ** 26)),
      StorageError,
    );
    assertStringIncludes(message, "nothing was fetched; free some space");
    assertEquals(box.pieces(), []);
    await fetchRelease(box.store, box.inbox, releaseOf("adapter"), allowing(2 ** 26 + 7));
    assertEquals(box.pieces().length, 1);
  }));
