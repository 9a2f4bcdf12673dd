import { assertEquals } from "@std/assert";
import { Clients, type Connected, type User } from "../../src/service/clients.ts";
import { Turns } from "../../src/service/turns.ts";

const client = (user: User, since: number, answering = false): Connected => ({
  user,
  since,
  answering,
});

function clientsOf(bounds: { most: number; mostEach: number }, ...all: Connected[]) {
  const clients = new Clients<Connected>(bounds);
  for (const one of all) clients.add(one);
  return clients;
}

Deno.test("Clients.room() puts out who asked nothing for longest, of the users with most connections", () => {
  const [a1, a2, b1] = [client(1, 30), client(1, 20), client(2, 10)];
  const full = clientsOf({ most: 3, mostEach: 3 }, a1, a2, b1);
  assertEquals(full.room(3), { instead: a2 });
  assertEquals(full.room(2), { instead: a2 });
  full.delete(a1);
  assertEquals(full.room(3), "free");
});

Deno.test("Clients.room() puts out a user's own connections at that user's bound", () => {
  const [a1, a2, b1] = [client(1, 30), client(1, 20), client(2, 10)];
  const clients = clientsOf({ most: 9, mostEach: 2 }, a1, a2, b1);
  assertEquals(clients.room(1), { instead: a2 });
  assertEquals(clients.room(2), "free");
  // Those of whom the user cannot be told are one.
  const unknown = [client(undefined, 1), client(undefined, 2)];
  assertEquals(clientsOf({ most: 9, mostEach: 2 }, ...unknown).room(undefined), {
    instead: unknown[0],
  });
});

Deno.test("Clients.room() leaves alone who is being answered", () => {
  const [working, waiting] = [client(1, 1, true), client(1, 2)];
  assertEquals(clientsOf({ most: 2, mostEach: 2 }, working, waiting).room(1), {
    instead: waiting,
  });
  const all = clientsOf({ most: 9, mostEach: 2 }, working, client(1, 2, true), client(2, 1));
  assertEquals(all.room(1), "none");
  assertEquals(all.room(3), "free");
});

Deno.test("Turns.full() bounds what one user has waiting, and leaves room for others", async () => {
  const turns = new Turns(5, 2);
  let open = () => {};
  const gate = new Promise<void>((resolve) => open = resolve);
  const work = [1, 1, 2].map((user) => turns.takeFor(user, () => gate));
  assertEquals([1, 2, 3].map((user) => turns.full(user)), [true, false, false]);
  work.push(...[2, 3].map((user) => turns.takeFor(user, () => gate)));
  assertEquals(turns.full(4), true);
  open();
  await Promise.all(work);
  assertEquals([1, 2, 4].map((user) => turns.full(user)), [false, false, false]);
  await turns.takeFor(1, () => Promise.reject(new Error("it failed"))).catch(() => {});
  assertEquals(turns.full(1), false);
});
