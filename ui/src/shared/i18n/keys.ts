import type { en } from "./en";

/** Name of a message. */
export type Key = keyof typeof en;
/** All messages of a language. */
export type Catalogue = Record<Key, string>;

type Upto<Text, Sign extends string> = Text extends `${infer Before}${Sign}${string}` ? Before : Text;
/** What stands in braces: an argument's name, or the text of a plural, which is not a name. */
type Name<Text> = Upto<Upto<Upto<Text, "}">, ",">, "{">;
type Names<Text> = Text extends `${string}{${infer Rest}`
  ? (Name<Rest> extends "" | `${string} ${string}` | `#${string}` ? never : Name<Rest>) | Names<Rest>
  : never;

/** Names of a message's arguments, read from the English text. */
export type Arguments<K extends Key> = Names<(typeof en)[K]>;
/** The arguments that a message asks for: none, or an object with all of them. */
export type Given<K extends Key> = [Arguments<K>] extends [never]
  ? []
  : [given: Record<Arguments<K>, string | number>];
