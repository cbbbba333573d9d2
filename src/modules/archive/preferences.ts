import { type Jid, tryParseJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'

export const DEFAULT_MODES = ['always', 'never', 'roster'] as const
export type DefaultMode = (typeof DEFAULT_MODES)[number]

/** XEP-0441: whose messages an account wants archived. */
export type Preferences = {
  /** For those in neither list. */
  readonly defaultMode: DefaultMode
  /** Addresses; a bare JID stands for all its resources. */
  readonly always: ReadonlySet<string>
  readonly never: ReadonlySet<string>
}

/**
 * Whether messages exchanged with `peer` are archived. Who is in both lists is not: what somebody
 * once wanted kept nowhere is not kept by accident.
 */
export function wishFor({ defaultMode, always, never }: Preferences, peer: Jid): DefaultMode {
  if (never.size > 0 && (never.has(peer.bare) || never.has(peer.full))) return 'never'
  if (always.size > 0 && (always.has(peer.bare) || always.has(peer.full))) return 'always'
  return defaultMode
}

/** Reads `<prefs/>`. Throws `bad-request`, or `resource-constraint` over `maxJids`. */
export function readPreferences(prefs: Element, maxJids: number): Preferences {
  const { preferences, problems } = lenientPreferences(prefs)
  const [text] = problems
  if (text !== undefined) throw new StanzaError('bad-request', { text })
  const { always, never } = preferences
  if (always.size + never.size > maxJids) {
    throw new StanzaError('resource-constraint', { text: 'too many addresses' })
  }
  return preferences
}

/** `<prefs/>` without what is no address, which `problems` name. Throws `bad-request` without a default. */
export function lenientPreferences(prefs: Element): {
  readonly preferences: Preferences
  readonly problems: readonly string[]
} {
  const defaultMode = DEFAULT_MODES.find((mode) => mode === prefs.attr('default'))
  if (defaultMode === undefined) {
    throw new StanzaError('bad-request', { text: 'default is always, never or roster' })
  }
  const problems: string[] = []
  const addresses = (list: Element | undefined) => {
    const found = new Set<string>()
    for (const { text } of list?.elements('jid') ?? []) {
      const jid = tryParseJid(text.trim())
      if (jid === undefined) problems.push(`${text.trim()}: no address`)
      else found.add(jid.full)
    }
    return found
  }
  const always = addresses(prefs.child('always'))
  const never = addresses(prefs.child('never'))
  return { preferences: { defaultMode, always, never }, problems }
}

export function preferencesElement(ns: string, preferences: Preferences): Element {
  const list = (name: 'always' | 'never') =>
    el(name, {}, ...[...preferences[name]].map((address) => el('jid', {}, address)))
  return el('prefs', { xmlns: ns, default: preferences.defaultMode }, list('always'), list('never'))
}
