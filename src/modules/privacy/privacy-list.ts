import type { ContactInfo, Subscription, Verdict } from '../../core/hook-map.ts'
import { scopesOf } from '../../core/privacy.ts'
import type { Jid } from '../../xmpp/jid.ts'
import type { Stanza } from '../../xmpp/stanza.ts'

/** Kinds of stanzas as rules tell them apart (XEP-0016 §2.1): bits, of which a rule has several. */
export const MESSAGE = 1
export const IQ = 2
export const PRESENCE_IN = 4
export const PRESENCE_OUT = 8
/** Messages and iqs going out, subscriptions and probes: only for rules about everything. */
export const OTHER = 16
export const EVERYTHING = MESSAGE | IQ | PRESENCE_IN | PRESENCE_OUT | OTHER

/** Whom a rule is about. */
export type Subject =
  | { readonly type: 'anybody' }
  | { readonly type: 'jid'; readonly jid: Jid }
  | { readonly type: 'subscription'; readonly subscription: Subscription }
  | { readonly type: 'group'; readonly group: string }

export type PrivacyItem = {
  readonly subject: Subject
  readonly action: Verdict
  /** Unique in its list; lower decides first. */
  readonly order: number
  /** Of stanzas, as bits. */
  readonly kinds: number
}

export function kindOf({ kind, type }: Stanza, direction: 'in' | 'out'): number {
  const isIn = direction === 'in'
  switch (kind) {
    case 'message':
      return isIn ? MESSAGE : OTHER
    case 'iq':
      return isIn ? IQ : OTHER
    case 'presence': {
      const isNotification = type === undefined || type === 'available' || type === 'unavailable'
      if (!isNotification) return OTHER
      return isIn ? PRESENCE_IN : PRESENCE_OUT
    }
  }
}

/**
 * Rules in their order, the first that fits decides (XEP-0016 §2.2). Those about addresses are found
 * by address, so that a long list costs no more than a short one.
 */
export class PrivacyList {
  readonly name: string
  /** By order. */
  readonly items: readonly PrivacyItem[]
  /** About addresses, by address, each in order; made when first needed. */
  #byAddress: Map<string, PrivacyItem[]> | undefined
  /** The others, in order. */
  #others: readonly PrivacyItem[] = []

  constructor(name: string, items: readonly PrivacyItem[]) {
    this.name = name
    this.items = items.toSorted((a, b) => a.order - b.order)
  }

  /**
   * Whether it lets stanzas of this kind from or to `peer` pass. `undefined`: that depends on what
   * the roster says about the peer, and `contact` was not given.
   */
  decide(peer: Jid, kind: number, contact?: ContactInfo): Verdict | undefined {
    const byAddress = this.#byAddress ?? this.#index()
    let first = byAddress.size === 0 ? undefined : firstFor(byAddress, peer, kind)
    for (const item of this.#others) {
      if (first !== undefined && first.order < item.order) break
      if ((item.kinds & kind) === 0) continue
      if (item.subject.type !== 'anybody') {
        if (contact === undefined) return undefined
        if (!isAbout(item.subject, contact)) continue
      }
      first = item
      break
    }
    return first?.action ?? 'allow'
  }

  #index(): Map<string, PrivacyItem[]> {
    const byAddress = new Map<string, PrivacyItem[]>()
    const others: PrivacyItem[] = []
    for (const item of this.items) {
      const { subject } = item
      if (subject.type !== 'jid') {
        others.push(item)
        continue
      }
      const same = byAddress.get(subject.jid.full)
      if (same === undefined) byAddress.set(subject.jid.full, [item])
      else same.push(item)
    }
    this.#others = others
    this.#byAddress = byAddress
    return byAddress
  }
}

function firstFor(
  byAddress: ReadonlyMap<string, readonly PrivacyItem[]>,
  peer: Jid,
  kind: number,
): PrivacyItem | undefined {
  let first: PrivacyItem | undefined
  for (const scope of scopesOf(peer)) {
    const items = byAddress.get(scope)
    if (items === undefined) continue
    for (const item of items) {
      if ((item.kinds & kind) === 0) continue
      if (first === undefined || item.order < first.order) first = item
      break
    }
  }
  return first
}

function isAbout(subject: Subject, { subscription, groups }: ContactInfo): boolean {
  if (subject.type === 'subscription') return subject.subscription === subscription
  return subject.type === 'group' && groups.includes(subject.group)
}
