import { z } from 'zod'
import { Envelope, SERVER } from '../core/envelope.ts'
import { resultOf } from '../core/hooks.ts'
import type { IqRequest } from '../core/iq.ts'
import { defineModule } from '../core/module.ts'
import type { Resource, Session } from '../core/session.ts'
import { forwarded } from '../xmpp/forward.ts'
import type { Jid } from '../xmpp/jid.ts'
import type { Octets } from '../xmpp/octets.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'

declare module '../core/session.ts' {
  interface SharedState {
    /** The resource wants copies of what the account's other resources send and receive. */
    readonly carbons?: boolean
  }
}

const NS = 'urn:xmpp:carbons:2'
const RULES_NS = 'urn:xmpp:carbons:rules:0'
const HINTS_NS = 'urn:xmpp:hints'
const MUC_USER_NS = 'http://jabber.org/protocol/muc#user'

/** Payloads that make a message one of instant messaging (XEP-0280 §6.1): receipts, states, markers. */
const INSTANT_MESSAGING: ReadonlySet<string> = new Set([
  'urn:xmpp:receipts',
  'http://jabber.org/protocol/chatstates',
  'urn:xmpp:chat-markers:0',
  // Direct invitations (XEP-0249).
  'jabber:x:conference',
])

/** How many sent messages a session remembers, to know whose error an error is. */
const REMEMBERED = 100

type Sent = { readonly envelope: Envelope; isCopied: boolean }

export const carbons = defineModule({
  name: 'carbons',
  implements: ['XEP-0280 1.0.1'],
  features: [NS, RULES_NS],
  config: z.strictObject({}),

  start({ hooks, iq, router, sessions: { sessions } }) {
    const sentBy = new WeakMap<Session, Map<string, Sent>>()

    const switchTo = (isWanted: boolean) => (request: IqRequest) => {
      if (request.from.bare !== request.to.bare || request.session === undefined) {
        throw new StanzaError('not-allowed')
      }
      request.session.share({ carbons: isWanted })
      return undefined
    }
    iq.on('account', 'set', NS, 'enable', switchTo(true))
    iq.on('account', 'set', NS, 'disable', switchTo(false))

    const enabled = (account: string, isLeftOut: (resource: Resource) => boolean) =>
      sessions.of(account).filter((one) => one.shared.carbons === true && !isLeftOut(one))

    const copy = (
      name: 'sent' | 'received',
      { from, to, stanza }: Envelope,
      targets: readonly Resource[],
    ) => {
      const original = forwarded(stanza.toWrapped(from, to))
      const octets = `<${name} xmlns='${NS}'>${original}</${name}>` as Octets
      const wrapper = Stanza.around('message', { type: stanza.type }, { name, ns: NS, octets })
      for (const { jid } of targets) {
        const outcome = router.route(new Envelope(jid.toBare(), jid, wrapper, SERVER))
        // Where a copy ends is nobody's business; `route` does not reject.
        if (outcome instanceof Promise) void outcome
      }
    }

    /** The sender's other resources see what this one sent. */
    const copySent = (sent: Sent) => {
      if (sent.isCopied) return
      sent.isCopied = true
      const { envelope } = sent
      const { from, sender } = envelope
      const targets = enabled(from.bare, ({ jid }) => jid.full === from.full)
      if (targets.length === 0) return
      const shown = hooks.at('sent_message_copied', sender?.domainType).run(envelope, {})
      if (!(shown instanceof Promise)) return copy('sent', resultOf(shown, envelope), targets)
      shown.then(
        (later) => copy('sent', resultOf(later, envelope), targets),
        () => copy('sent', envelope, targets),
      )
    }

    hooks.on(
      'user_send_message',
      (envelope, { session }) => {
        if (!isOwnBusiness(envelope) && isEligible(envelope.stanza)) {
          const others = sessions.of(envelope.from.bare)
          if (others.length > 1) remember(sentBy, session, envelope)
        }
        return envelope
      },
      { order: 89, onError: 'skip' },
    )

    hooks.on(
      'message_routed',
      (outcome, { envelope }) => {
        const sent = recall(sentBy, envelope.sender, envelope.to, envelope.stanza.id)
        // What was filtered never left; its sender's other devices need not know.
        if (sent?.envelope.stanza === envelope.stanza && outcome.fate !== 'dropped') copySent(sent)
        return outcome
      },
      { order: 60, onError: 'skip' },
    )

    hooks.on(
      'sm_message_delivered',
      (envelope, { reached }) => {
        const { stanza, to } = envelope
        if (stanza.isError) {
          const answered = errorOf(envelope, reached)
          if (answered === undefined) return envelope
          // Nobody gets to see an error before the message it is about.
          copySent(answered)
        } else if (!isEligible(stanza) || isRoomsPrivateMessage(stanza)) return envelope
        const isLeftOut = (one: Resource) => reached.includes(one) || one === envelope.sender
        const targets = enabled(to.bare, isLeftOut)
        if (targets.length > 0) copy('received', envelope, targets)
        return envelope
      },
      { order: 89, onError: 'skip' },
    )

    /** The message that an error answers, if a resource it has reached sent it. */
    const errorOf = ({ from, stanza }: Envelope, reached: readonly Resource[]) => {
      for (const resource of reached) {
        const sent = recall(sentBy, resource as Session, from, stanza.id)
        if (sent !== undefined) return sent
      }
      return undefined
    }
  },
})

/** To oneself: the resources that get it as a received message are not shown it as sent, too. */
function isOwnBusiness({ from, to }: Envelope): boolean {
  return from.bare === to.bare
}

/** XEP-0280 §6.1, but for errors and rooms. */
function isEligible(stanza: Stanza): boolean {
  if (stanza.hasNamespace(NS) || stanza.has('no-copy', HINTS_NS)) return false
  switch (stanza.type) {
    case 'chat':
      return true
    case 'error':
    case 'groupchat':
    case 'headline':
      return false
    default:
      if (stanza.has('body') || isMediatedInvitation(stanza)) return true
      return stanza.children.some(({ ns }) => INSTANT_MESSAGING.has(ns))
  }
}

function isMediatedInvitation(stanza: Stanza): boolean {
  return stanza.child('x', MUC_USER_NS)?.child('invite') !== undefined
}

/** The room has given it to each client that is in the room already. */
function isRoomsPrivateMessage(stanza: Stanza): boolean {
  return stanza.has('x', MUC_USER_NS) && !isMediatedInvitation(stanza)
}

type SentMessages = WeakMap<Session, Map<string, Sent>>

function keyOf(peer: Jid, id: string): string {
  return `${peer.bare} ${id}`
}

function remember(sentBy: SentMessages, session: Session, envelope: Envelope): void {
  let messages = sentBy.get(session)
  if (messages === undefined) {
    messages = new Map()
    sentBy.set(session, messages)
  }
  messages.set(keyOf(envelope.to, envelope.stanza.id ?? ''), { envelope, isCopied: false })
  if (messages.size <= REMEMBERED) return
  for (const oldest of messages.keys()) {
    messages.delete(oldest)
    break
  }
}

function recall(
  sentBy: SentMessages,
  session: Session | undefined,
  peer: Jid,
  id: string | undefined,
): Sent | undefined {
  return session && sentBy.get(session)?.get(keyOf(peer, id ?? ''))
}
