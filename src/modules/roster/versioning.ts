import type { Roster, RosterItem } from './roster.ts'

/** More than so many changed items are not pushed one by one. */
const MAX_PUSHES = 50
/** A push, with the client's answer to it, weighs as much as so many items of a whole roster. */
const ITEMS_PER_PUSH = 4

const VERSION = /^\d{1,16}$/

/** What a client needs that knows the version `known` (RFC 6121 §2.6), as text; '' for none. */
export type Answer =
  | { readonly kind: 'whole' }
  /** Nothing but these items has changed, oldest change first. */
  | { readonly kind: 'changes'; readonly items: readonly RosterItem[] }

const WHOLE: Answer = { kind: 'whole' }

/**
 * The whole roster where that takes less bandwidth than to push what has changed (RFC 6121 §2.6.3).
 * Removals are not kept: a client that knows a version before the last one gets all anew, too.
 */
export function answerTo(roster: Roster, known: string): Answer {
  if (!VERSION.test(known)) return WHOLE
  const version = Number(known)
  if (version === roster.version) return { kind: 'changes', items: [] }
  if (version > roster.version || version < roster.removedAt) return WHOLE
  const listed = roster.listed()
  const items = listed.filter((item) => item.version > version)
  if (items.length > MAX_PUSHES || items.length * ITEMS_PER_PUSH > listed.length) return WHOLE
  return { kind: 'changes', items: items.sort((a, b) => a.version - b.version) }
}
