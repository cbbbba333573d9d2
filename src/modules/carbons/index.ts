import { z } from 'zod'
import { Envelope, idOf, SERVER } from '../../core/envelope.ts'
import { resultOf } from '../../core/hooks.ts'
import type { IqRequest } from '../../core/iq.ts'
import { Lanes } from '../../core/lanes.ts'
import { after, type Maybe } from '../../core/maybe.ts'
import { defineModule } from '../../core/module.ts'
import type { Resource, Session } from '../../core/session.ts'
import { CARBONS_NS, forwarded, isCopy } from '../../xmpp/forward.ts'
import type { Octets } from '../../xmpp/octets.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { isEligible, isFromOccupant, isKeptApart } from './eligibility.ts'
import { COPIED, SentMessages } from './sent-messages.ts'

declare module '../../core/session.ts' {
  interface SharedState {
    /** The resource wants copies of what the account's other resources send and receive. */
    readonly carbons?: boolean
  }
}

const RULES_NS = 'urn:xmpp:carbons:rules:0'

/**
 * Shows each device of an account what its other devices send and receive (XEP-0280). Each resource
 * that wants copies gets a message once: itself if it is delivered there, else a copy. Which it is, is
 * decided once, when the message is first delivered or stored.
 */
export const carbons = defineModule({
  name: 'carbons',
  implements: ['XEP-0280 1.0.1'],
  features: [CARBONS_NS, RULES_NS],
  config: z.strictObject({}),

  start({ hooks, iq, router, lasting, sessions: { sessions } }) {
    const { sent, lanes } = lasting(() => ({
      sent: new SentMessages(),
      /** An account's copies keep their order. */
      lanes: new Lanes(),
    }))

    const switchTo = (isWanted: boolean) => (request: IqRequest) => {
      if (request.from.bare !== request.to.bare || request.session === undefined) {
        throw new StanzaError('not-allowed')
      }
      request.session.share({ carbons: isWanted })
      return undefined
    }
    iq.on('account', 'set', CARBONS_NS, 'enable', switchTo(true))
    iq.on('account', 'set', CARBONS_NS, 'disable', switchTo(false))

    const enabled = (account: string, isLeftOut: (resource: Resource) => boolean) =>
      sessions.of(account).filter((one) => one.shared.carbons === true && !isLeftOut(one))

    const copy = (
      name: 'sent' | 'received',
      { from, to, stanza, notes }: Envelope,
      targets: readonly Resource[],
    ) => {
      const original = forwarded(stanza.toWrapped(from, to))
      const octets = `<${name} xmlns='${CARBONS_NS}'>${original}</${name}>` as Octets
      const child = { name, ns: CARBONS_NS, octets }
      const wrapper = Stanza.around('message', { type: stanza.type }, child)
      const id = name === 'received' ? idOf(notes) : undefined
      const noted = id === undefined ? undefined : { copyOf: id }
      for (const { jid } of targets) {
        const outcome = router.route(new Envelope(jid.toBare(), jid, wrapper, SERVER, noted))
        // Where a copy ends is nobody's business; `route` does not reject.
        if (outcome instanceof Promise) void outcome
      }
    }

    /** The sender's other resources see what this one sent. */
    const copySent = (envelope: Envelope, sender: Session) => {
      const { from } = envelope
      if (sessions.of(from.bare).length < 2) return
      copySentTo(
        enabled(from.bare, (one) => one === sender),
        envelope,
        sender,
      )
    }

    const copySentTo = (targets: readonly Resource[], envelope: Envelope, sender: Session) => {
      if (targets.length === 0) return
      void lanes.run(envelope.from.bare, () =>
        after(shown(envelope, sender), (known) => copy('sent', known, targets)),
      )
    }

    /** With what others have to say of it; as it is, where they fail. */
    const shown = (envelope: Envelope, { domainType }: Session): Maybe<Envelope> => {
      const asIs = () => envelope
      try {
        const verdict = hooks.at('sent_message_copied', domainType).run(envelope, {})
        if (!(verdict instanceof Promise)) return resultOf(verdict, envelope)
        return verdict.then((later) => resultOf(later, envelope), asIs)
      } catch {
        return asIs()
      }
    }

    hooks.on(
      'user_send_message',
      (envelope, { session }) => {
        if (!isEligible(envelope.stanza)) return envelope
        // To oneself: who does not get it as received is not shown it as sent, either.
        const isOwn = envelope.from.bare === envelope.to.bare
        sent.add(session, envelope, isOwn ? COPIED : envelope)
        return envelope
      },
      // It only remembers what it may copy later.
      { order: 89, onError: 'skip', explain: (envelope) => ({ verdict: envelope }) },
    )

    hooks.on(
      'message_routed',
      (outcome, { envelope }) => {
        const { sender, stanza } = envelope
        if (sender === undefined || stanza.kind !== 'message') return outcome
        const waiting = sent.take(sender, stanza)
        // What was filtered never left; its sender's other devices need not know.
        if (waiting !== undefined && outcome.fate !== 'dropped') copySent(waiting, sender)
        return outcome
      },
      // Behind the archive, whose id the copy has.
      {
        order: 60,
        onError: 'skip',
        explain: (outcome, { envelope: { from, to, stanza, sender } }) => {
          const isCopied =
            sender !== undefined &&
            stanza.kind === 'message' &&
            isEligible(stanza) &&
            outcome.fate !== 'dropped' &&
            from.bare !== to.bare
          const targets = isCopied ? enabled(from.bare, ({ jid }) => jid.equals(from)) : []
          return { verdict: outcome, ...wouldCopy(targets) }
        },
      },
    )

    /** What `copyReceived` has for a message that is no error. The resources may only stand for others. */
    const wantingReceived = (envelope: Envelope, reached: readonly Resource[]) => {
      const { stanza, to, sender } = envelope
      if (stanza.isError || !isEligible(stanza) || isFromOccupant(envelope)) return []
      const isStored = reached.length === 0
      const has = new Set(reached.map(({ jid }) => jid.full))
      return enabled(
        to.bare,
        (one) =>
          has.has(one.jid.full) || one === sender || (isStored && one.priority === undefined),
      )
    }

    const copyReceived = (envelope: Envelope, reached: readonly Resource[]) => {
      const { stanza, to, notes } = envelope
      // It was copied when it was delivered first.
      if (notes.isRetry === true) return
      if (stanza.isError) {
        if (!answersCopied(envelope, reached)) return
      } else if (!isEligible(stanza) || isFromOccupant(envelope)) return
      // Mostly the account has one device, which has got it.
      if (sessions.of(to.bare).length > reached.length) copyToOthers(envelope, reached)
    }

    const copyToOthers = (envelope: Envelope, reached: readonly Resource[]) => {
      const { to, sender } = envelope
      const isStored = reached.length === 0
      const targets = enabled(to.bare, (one) => {
        // Who is not available gets from the store what is there.
        return reached.includes(one) || one === sender || (isStored && one.priority === undefined)
      })
      if (targets.length > 0) void lanes.run(to.bare, () => copy('received', envelope, targets))
    }

    hooks.on(
      'sm_message_delivered',
      (envelope, { reached }) => {
        copyReceived(envelope, reached)
        return envelope
      },
      {
        order: 89,
        onError: 'skip',
        explain: (envelope, { reached }) => ({
          verdict: envelope,
          ...wouldCopy(wantingReceived(envelope, reached)),
        }),
      },
    )
    hooks.on(
      'sm_message_kept',
      (outcome, { envelope }) => {
        if (outcome.fate === 'stored') copyReceived(envelope, [])
        return outcome
      },
      {
        order: 89,
        onError: 'skip',
        explain: (outcome, { envelope }) => ({
          verdict: outcome,
          ...wouldCopy(outcome.fate === 'stored' ? wantingReceived(envelope, []) : []),
        }),
      },
    )

    /** Whether an error is about a message that was copied, sent by a resource it has reached. */
    const answersCopied = ({ from, stanza }: Envelope, reached: readonly Resource[]): boolean => {
      if (isKeptApart(stanza)) return false
      for (const resource of reached) {
        const session = resource as Session
        const answered = sent.answered(session, from, stanza)
        if (answered === undefined) continue
        // Nobody gets to see an error before the message it is about.
        if (answered !== COPIED) copySent(answered, session)
        return true
      }
      return false
    }

    // A copy is for one resource, and goes with it.
    hooks.on(
      'sm_filter_offline_message',
      (isForgotten, { envelope: { from, to, stanza } }) =>
        isForgotten || (from.full === to.bare && isCopy(stanza)),
      { explain: 'pure' },
    )
  },
})

function wouldCopy(targets: readonly Resource[]): { readonly would?: string } {
  if (targets.length === 0) return {}
  return { would: `send a copy to ${targets.map(({ jid }) => jid.full).join(', ')}` }
}
