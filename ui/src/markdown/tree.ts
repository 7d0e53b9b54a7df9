// What the components draw. There is no node for HTML, for a source that could be fetched or for a style:
// whatever a text says, it can become nothing but these.

export type Inline =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "plain"; readonly text: string }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "tex"; readonly text: string }
  | { readonly kind: "break" }
  | Emphasis<"strong">
  | Emphasis<"emphasis">
  | Emphasis<"strike">
  | Link
  | { readonly kind: "image"; readonly address: string; readonly alt: string }
  | { readonly kind: "note"; readonly mark: string };

interface Emphasis<Kind> {
  readonly kind: Kind;
  readonly children: readonly Inline[];
}

export interface Link {
  readonly kind: "link";
  readonly address: string;
  /** The host that it leads to, where the visible text names another. */
  readonly host: string | null;
  readonly children: readonly Inline[];
}

export type Align = "left" | "center" | "right" | null;
export type Cell = readonly Inline[];

export interface Item {
  /** Whether a task is done; `null` for an item that is no task. */
  readonly done: boolean | null;
  /** The words of a task, to name its checkbox. */
  readonly name: string;
  readonly children: readonly Block[];
}

export type Block =
  | { readonly kind: "paragraph"; readonly tight: boolean; readonly children: readonly Inline[] }
  | { readonly kind: "heading"; readonly level: number; readonly children: readonly Inline[] }
  | CodeNode
  | { readonly kind: "tex"; readonly text: string }
  | { readonly kind: "rule" }
  | { readonly kind: "quote"; readonly children: readonly Block[] }
  | { readonly kind: "list"; readonly start: number | null; readonly items: readonly Item[] }
  | TableNode
  | { readonly kind: "footnote"; readonly mark: string; readonly children: readonly Block[] }
  | { readonly kind: "plain"; readonly text: string };

export interface CodeNode {
  readonly kind: "code";
  /** What stood behind the opening fence. */
  readonly info: string;
  readonly text: string;
  /** Whether more of it may come. */
  readonly open: boolean;
}

export interface TableNode {
  readonly kind: "table";
  readonly align: readonly Align[];
  readonly head: readonly Cell[];
  readonly rows: readonly (readonly Cell[])[];
}

/**
 * `fresh`, with every part that equals its counterpart in `old` replaced by it. What did not change keeps its
 * identity, and so the elements on the screen stay untouched.
 */
export function share<T>(old: unknown, fresh: T): T {
  if (old === fresh || typeof fresh !== "object" || fresh === null) return fresh;
  if (typeof old !== "object" || old === null || Array.isArray(old) !== Array.isArray(fresh)) return fresh;
  const before = old as Record<string, unknown>;
  const after = fresh as Record<string, unknown>;
  const keys = Object.keys(after);
  let same = keys.length === Object.keys(before).length;
  for (const key of keys) {
    const part = share(before[key], after[key]);
    if (part !== before[key]) same = false;
    after[key] = part;
  }
  return same ? (old as T) : fresh;
}

/** The text that a reader sees of it. */
export function visibleText(nodes: readonly Inline[]): string {
  return nodes
    .map((node) => {
      switch (node.kind) {
        case "text":
        case "plain":
        case "code":
        case "tex":
          return node.text;
        case "break":
          return "\n";
        case "image":
          return node.alt;
        case "note":
          return node.mark;
        default:
          return visibleText(node.children);
      }
    })
    .join("");
}
