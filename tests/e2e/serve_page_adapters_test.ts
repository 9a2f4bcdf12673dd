import { assert, assertEquals } from "@std/assert";
import { testInChromium, withPage } from "../helpers/chromium.ts";
import { postJson } from "../helpers/http_server.ts";
import {
  answered,
  answerOf,
  ask,
  button,
  column,
  NAME,
  onAnswers,
  press,
  status,
  view,
  withAdapters,
} from "../helpers/page_steps.ts";
import { until } from "../helpers/until.ts";

testInChromium(
  "the page of graft serve: adapters are loaded, replaced, rolled back, mixed and compared by keyboard",
  async () => {
    await withAdapters(async ({ url }) => {
      await withPage(url, async (page) => {
        await page.getByRole("heading", { level: 1, name: "Playground" }).waitFor();
        assertEquals(await page.title(), "Playground · graft");
        await page.keyboard.press("Tab");
        await page.keyboard.press("Enter");
        assertEquals(await page.evaluate("document.activeElement.id"), "main");

        await view(page, "Adapters");
        const named = async () => {
          const adapters = await (await fetch(`${url}/lora-adapters`)).json();
          return adapters.map((
            { name, path, scale }: Record<string, string>,
          ) => [name, path.split("/").at(-1), scale]);
        };
        const load = async (folder: string, name: string, what: string) => {
          await page.getByLabel("Folder").selectOption(folder);
          await page.getByLabel("Name").fill(name);
          await press(page, what);
        };
        await load("a", "lamp", "Load");
        await status(page, "lamp is loaded");
        await load("b", "lamp", "Replace lamp");
        await status(page, "lamp is replaced");
        assertEquals(await named(), [["lamp", "b", 0]]);
        await press(page, "Roll back lamp");
        await status(page, "lamp is rolled back");
        assertEquals(await named(), [["lamp", "a", 0]]);
        await load("b", "mill", "Load");
        await status(page, "mill is loaded");

        const slider = page.getByRole("slider", { name: "Share of lamp" });
        await slider.press("ArrowRight");
        await status(page, "The mix is set");
        assertEquals(await named(), [["lamp", "a", 0.05], ["mill", "b", 0]]);
        // Keys that come before the server has answered are not lost, nor is another slider's share.
        const other = page.getByRole("slider", { name: "Share of mill" });
        await slider.press("End");
        await other.press("End");
        for (let i = 0; i < 5; i++) await slider.press("ArrowLeft");
        const mixed = (lamp: number, mill: number) =>
          until(`lamp has ${lamp} and mill ${mill}`, async () => {
            assertEquals(await named(), [["lamp", "a", lamp], ["mill", "b", mill]]);
            return true;
          }, 10_000);
        await mixed(1.75, 2);
        await other.press("Home");
        await slider.press("End");
        await mixed(2, 0);
        await page.getByText("2.00").waitFor();

        await view(page, "Playground");
        await onAnswers(
          page,
          "window.together ||= texts.filter((text) => " +
            "text.ariaBusy === 'true' && text.textContent !== '').length >= 3",
        );
        await ask(page);
        const mixture = `${NAME}, mixed`;
        const [base, lamp, mix] = [
          await answered(page, NAME),
          await answered(page, "lamp"),
          await answered(page, mixture),
        ];
        const cut = (text: string | null, like: string) => text!.slice(0, like.length);
        for (
          const [shown, body] of [
            [base, { lora: [] }],
            [lamp, { model: "lamp" }],
            [mix, { lora: [{ id: 0, scale: 2 }] }],
          ] as const
        ) {
          const expected = await answerOf(url, body);
          assertEquals(cut(shown, expected), expected);
        }
        assertEquals(new Set([base, lamp, mix]).size, 3);
        const measured = await column(page, "lamp").getByText(/^Complete/).textContent();
        assert(
          /first token after [\d.]+ s · [\d.]+ tokens\/s · \d+ tokens/.test(measured!),
          measured!,
        );

        assertEquals(await page.evaluate("window.together"), true);

        // Stopped at its first text.
        await onAnswers(
          page,
          "const stop = [...document.querySelectorAll('button')]" +
            ".find((one) => one.textContent === 'Stop');" +
            "if (texts[0].ariaBusy === 'true' && texts[0].textContent !== '') stop.click()",
        );
        await ask(page);
        await column(page, NAME).getByText(/^Stopped/).waitFor();

        await view(page, "Adapters");
        await press(page, "Clear the mix");
        await status(page, "The mix is cleared");
        await press(page, "Unload lamp");
        await status(page, "lamp is unloaded");
        assertEquals(await named(), [["mill", "b", 0]]);
        // What another client changed meanwhile is not overwritten.
        await postJson(`${url}/v1/load_lora_adapter`, {
          lora_name: "mill",
          lora_path: "a",
          load_inplace: true,
        });
        await page.getByText("none", { exact: true }).waitFor({ state: "detached" });
        assertEquals(await button(page, "Roll back mill").isEnabled(), true);
      });
    });
  },
);
