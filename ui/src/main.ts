import { connect } from "#backend";
import { flushSync, mount } from "svelte";
import { App } from "./app/app.svelte";
import View from "./views/App.svelte";

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no element #app");

const app = new App(connect());
mount(View, { target, props: { app } });
await app.start();
flushSync();

// The newest conversation is where most go on; a text that waits to be sent comes first.
const [newest] = app.conversations.rows;
if (newest !== undefined && app.drafts.of(null) === "") void app.open(newest.id);

// The rest of the list comes after the first paint.
requestAnimationFrame(() =>
  setTimeout(() => app.conversations.loadRest().catch((reason: unknown) => app.report(reason))),
);
