import { Envelope } from '../core/envelope.ts'
import { DROP, Stop } from '../core/hooks.ts'
import { answered, dropped, type Outcome } from '../core/outcome.ts'
import type { Router } from '../core/router.ts'
import type { Session } from '../core/session.ts'
import { Settlement } from '../core/settlement.ts'
import type { Tracer } from '../core/tracer.ts'
import { type Jid, parseJid, tryParseJid } from '../xmpp/jid.ts'
import { CLIENT_NS, isStanzaKind, Stanza } from '../xmpp/stanza.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { faultOf } from '../xmpp/stanza-fault.ts'
import { ofKind } from '../xmpp/stanza-kind.ts'
import { StreamError } from '../xmpp/stream-error.ts'
import type { Frame } from '../xmpp/xml-parser.ts'
import type { ClientSession } from './client-session.ts'

/**
 * Route step 3. What a client sends in an established session: checks it, stamps the sender's full
 * JID on it, runs the `user_send_*` hooks, and gives it to the router.
 *
 * Returns a promise only while something asynchronous is going on; the session's next stanzas wait
 * for it. Throws `StreamError` for what ends the stream.
 */
export function receive(
  session: ClientSession,
  frame: Frame,
  router: Router,
): Promise<void> | undefined {
  if (frame.ns !== CLIENT_NS) return receiveOther(session, frame)
  if (!isStanzaKind(frame.name)) {
    throw new StreamError('unsupported-stanza-type', `<${frame.name}/> is no stanza`)
  }
  verifyFrom(session, frame)
  const stanza = Stanza.fromFrame(frame, CLIENT_NS, session.lang)
  session.touch(stanza.kind !== 'iq')
  const self = session.jid
  const toText = frame.common.to
  const to: Jid | undefined = toText === undefined ? self.toBare() : tryParseJid(toText)
  const settlement = session.onSettled === undefined ? undefined : new Settlement()
  const recipient = to ?? parseJid(self.domain)
  const envelope = new Envelope(self, recipient, stanza, session.origin, undefined, settlement)
  const fault = to === undefined ? new StanzaError('jid-malformed') : faultOf(stanza)
  const { tracer, stages } = router
  stages.c2sIn.stanzas++
  return tracer === undefined
    ? accept(session, envelope, fault, router)
    : follow(tracer, session, envelope, fault, router)
}

function follow(
  tracer: Tracer,
  session: ClientSession,
  envelope: Envelope,
  fault: StanzaError | undefined,
  router: Router,
): Promise<void> | undefined {
  const work = (followed: Envelope) => accept(session, followed, fault, router)
  return tracer.receive(router.stages.c2sIn, envelope, work)
}

/** What the sender's own hooks need of its session. */
export type Sending = Pick<ClientSession, 'points' | 'onSettled'> & {
  readonly inSession: { readonly session: Session }
}

/** A stanza with its addresses, and with what is wrong with it, if anything. */
export function accept(
  session: Sending,
  envelope: Envelope,
  fault: StanzaError | undefined,
  router: Router,
): Promise<void> | undefined {
  return fault === undefined
    ? send(session, envelope, router)
    : refuse(session, router, envelope, fault)
}

/** RFC 6120 §8.1.2.1: absent, or the sender's own bare or full JID. */
function verifyFrom(session: ClientSession, frame: Frame): void {
  const text = frame.common.from
  if (text === undefined || text === session.jid.full || text === session.jid.bare) return
  const from = tryParseJid(text)
  if (from?.full !== session.jid.full && from?.full !== session.jid.bare) {
    throw new StreamError('invalid-from')
  }
}

function send(session: Sending, envelope: Envelope, router: Router): Promise<void> | undefined {
  const { points, inSession } = session
  let verdict: Decision | Promise<Decision>
  try {
    verdict = points.sendPacket.run(envelope, inSession)
  } catch (error) {
    return refuse(session, router, envelope, error)
  }
  if (!(verdict instanceof Promise)) return sendKind(session, envelope, verdict, router)
  return later(verdict, sendKind, session, envelope, router)
}

/** Apart: a function whose variables a closure uses allocates for it, whether it comes to it or not. */
function later(
  verdict: Promise<Decision>,
  goOn: typeof sendKind,
  session: Sending,
  envelope: Envelope,
  router: Router,
): Promise<void> {
  return verdict.then(
    (decided) => goOn(session, envelope, decided, router),
    (error) => refuse(session, router, envelope, error),
  )
}

type Decision = Envelope | Stop<Envelope> | typeof DROP

function sendKind(
  session: Sending,
  before: Envelope,
  verdict: Decision,
  router: Router,
): Promise<void> | undefined {
  if (verdict === DROP || verdict instanceof Stop) {
    settled(session, before, router.settle(before, dropped('user_send_packet', 'stopped')))
    return undefined
  }
  let decided: Decision | Promise<Decision>
  try {
    decided = ofKind(session.points.send, verdict.stanza.kind).run(verdict, session.inSession)
  } catch (error) {
    return refuse(session, router, verdict, error)
  }
  if (!(decided instanceof Promise)) return dispatch(session, verdict, decided, router)
  return later(decided, dispatch, session, verdict, router)
}

function dispatch(
  session: Sending,
  before: Envelope,
  verdict: Decision,
  router: Router,
): Promise<void> | undefined {
  if (verdict === DROP || verdict instanceof Stop) {
    const hook = `user_send_${before.stanza.kind}`
    settled(session, before, router.settle(before, dropped(hook, 'stopped')))
    return undefined
  }
  if (verdict.stanza.kind === 'presence') {
    // The presence module has routed what was to be routed.
    settled(session, verdict, router.settle(verdict, answered('user_send_presence')))
    return undefined
  }
  const outcome = router.route(verdict)
  if (outcome instanceof Promise) return settledLater(session, verdict, outcome)
  settled(session, verdict, outcome)
  return undefined
}

async function settledLater(
  session: Sending,
  envelope: Envelope,
  outcome: Promise<Outcome>,
): Promise<void> {
  settled(session, envelope, await outcome)
}

/** The fate is decided; who acknowledges to the client counts on. */
function settled(session: Sending, envelope: Envelope, outcome: Outcome): void {
  session.onSettled?.(envelope, outcome)
}

/** The stanza is wrong, or a hook refused it or failed. A hook may refuse the whole stream. */
function refuse(session: Sending, router: Router, envelope: Envelope, error: unknown): undefined {
  if (error instanceof StreamError) {
    settled(session, envelope, router.settle(envelope, dropped('user_send', error.condition)))
    throw error
  }
  const failure =
    error instanceof StanzaError
      ? error
      : new StanzaError('internal-server-error', { type: 'wait' })
  const outcome = router.settle(envelope, router.bounce(envelope, failure, 'user_send'))
  settled(session, envelope, outcome)
}

/** Not a stanza: something a module understands, or nothing we support (RFC 6120 §4.9.3.24). */
function receiveOther(session: ClientSession, frame: Frame): Promise<void> | undefined {
  const element = frame.toElement()
  const verdict = session.points.sendXmlel.run(element, session.inSession)
  const check = (decided: unknown) => {
    if (decided instanceof Stop || decided === DROP) return
    throw new StreamError('unsupported-stanza-type', `<${frame.name}/> is not supported`)
  }
  if (verdict instanceof Promise) return verdict.then(check)
  check(verdict)
  return undefined
}
