import { z } from 'zod'
import {
  type AdhocAsked,
  type AdhocCommand,
  type AdhocStage,
  type AdhocStep,
  badPayload,
  COMMANDS_NS,
  isStage,
} from '../../core/adhoc.ts'
import { duration } from '../../core/config-types.ts'
import type { DiscoQuery } from '../../core/disco.ts'
import { type Handler, resultOf } from '../../core/hooks.ts'
import type { IqAnswer, IqRequest } from '../../core/iq.ts'
import { defineModule } from '../../core/module.ts'
import { type DataForm, FORM_NS, readForm } from '../../xmpp/data-form.ts'
import { parseJid } from '../../xmpp/jid.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import type { Element } from '../../xmpp/xml.ts'
import { type Action, actionOf, cancelledElement, refusal, stepElement } from './protocol.ts'
import { type AdhocSession, AdhocSessions } from './sessions.ts'

/**
 * Commands that clients give with forms (XEP-0050), at hosted domains, and at the client's own account,
 * where some clients look for those of its server. What there is to command comes from whoever handles
 * `adhoc_commands`.
 */
export const adhoc = defineModule({
  name: 'adhoc',
  implements: ['XEP-0050 1.3.0'],
  features: [COMMANDS_NS],
  config: z.strictObject({
    timeout: duration({ min: '10s', max: '1d' })
      .prefault('10m')
      .describe('How long a form waits to be sent back.'),
    max_sessions: z.int().min(1).default(1_000).describe('Commands open at the same time.'),
    max_sessions_per_user: z
      .int()
      .min(1)
      .default(20)
      .describe('Of these, commands of one client; with one more, its oldest is over.'),
  }),

  start({ config, hooks, iq, routes, clock }) {
    const sessions = new AdhocSessions({
      maxSessions: config.max_sessions,
      maxPerRequester: config.max_sessions_per_user,
      timeout: config.timeout,
      now: () => clock.now(),
    })

    const offered = async (asked: AdhocAsked): Promise<readonly AdhocCommand[]> => {
      const { domain } = asked.target
      const point = hooks.at('adhoc_commands', routes.find(domain)?.domainType)
      return resultOf(await point.run([], { ...asked, target: parseJid(domain) }), [])
    }

    /** Throws `item-not-found`, `forbidden`. */
    const commandAt = async (node: string, asked: AdhocAsked): Promise<AdhocCommand> => {
      const command = (await offered(asked)).find((candidate) => candidate.node === node)
      if (command === undefined) throw new StanzaError('item-not-found')
      if (!command.isAllowed) throw new StanzaError('forbidden')
      return command
    }

    // --- Discovery (§2). What is asked about other nodes is for others to say.

    const commandOf = async ({ node, ...asked }: DiscoQuery) => {
      if (node === '') return undefined
      const found = (await offered(asked)).find((candidate) => candidate.node === node)
      if (found?.isAllowed === false) throw new StanzaError('forbidden')
      return found
    }
    const identities: Handler<'disco_local_identity'> = async (all, query) => {
      const list = { category: 'automation', type: 'command-list', name: 'Commands' }
      if (query.node === COMMANDS_NS) return [...all, list]
      const command = await commandOf(query)
      if (command === undefined) return all
      return [...all, { category: 'automation', type: 'command-node', name: command.name }]
    }
    const features: Handler<'disco_local_features'> = async (all, query) => {
      const isOurs = query.node === COMMANDS_NS || (await commandOf(query)) !== undefined
      return isOurs ? [...all, COMMANDS_NS, FORM_NS] : all
    }
    const items: Handler<'disco_local_items'> = async (all, { node, ...asked }) => {
      if (node !== COMMANDS_NS) return all
      const allowed = (await offered(asked)).filter(({ isAllowed }) => isAllowed)
      const own = allowed.map((command) => ({
        jid: asked.target.full,
        node: command.node,
        name: command.name,
      }))
      return [...all, ...own]
    }
    hooks.on('disco_local_identity', identities)
    hooks.on('disco_local_features', features)
    hooks.on('disco_local_items', items)
    const isOwn = ({ from, target }: DiscoQuery) => from.bareEquals(target)
    hooks.on('disco_sm_identity', (all, query) => (isOwn(query) ? identities(all, query) : all))
    hooks.on('disco_sm_features', (all, query) => {
      if (!isOwn(query)) return all
      return query.node === '' ? [...all, COMMANDS_NS] : features(all, query)
    })
    hooks.on('disco_sm_items', (all, query) => (isOwn(query) ? items(all, query) : all))

    // --- Execution (§3).

    const begin = async (node: string, request: IqRequest): Promise<Element> => {
      const { from, to, session } = request
      const command = await commandAt(node, { from, target: to, session })
      const action = actionOf(request.payload)
      if (action !== 'execute') throw refusal('bad-action', `nothing to ${action} has begun`)
      const shown = { node, sessionid: sessions.newId(from.full) }
      const step = await command.begin()
      if (isStage(step)) {
        sessions.open(shown.sessionid, { node, requester: from.full }).stages.push(step)
      }
      return stepElement(shown, step, false)
    }

    /** Whoever was an administrator when the form was shown may be none any more. */
    const goOn = async (node: string, sessionid: string, request: IqRequest): Promise<Element> => {
      const { from, to, payload } = request
      await commandAt(node, { from, target: to, session: request.session })
      const session = sessions.find(sessionid, from.full, node)
      if (session.isBusy) throw new StanzaError('resource-constraint', { text: 'still at work' })
      const shown = { node, sessionid }
      const action = actionOf(payload)
      if (action === 'cancel') {
        sessions.close(session)
        return cancelledElement(shown)
      }
      if (action === 'prev') return stepElement(shown, back(session), session.stages.length > 1)
      const step = await submitted(session, action, payload)
      if (isStage(step)) session.stages.push(step)
      else sessions.close(session)
      return stepElement(shown, step, session.stages.length > 1)
    }

    const back = (session: AdhocSession): AdhocStage => {
      if (session.stages.length < 2) throw refusal('bad-action', 'this is the first stage')
      session.stages.pop()
      return session.stages.at(-1) as AdhocStage
    }

    const submitted = async (
      session: AdhocSession,
      action: Action,
      payload: Element,
    ): Promise<AdhocStep> => {
      const stage = session.stages.at(-1) as AdhocStage
      const forward = stage.isLast ? 'complete' : 'next'
      if (action !== 'execute' && action !== forward) {
        throw refusal('bad-action', `expected ${forward}`)
      }
      const form = formOf(payload)
      session.isBusy = true
      try {
        return await stage.submit(form)
      } catch (error) {
        if (!isCorrectable(error)) sessions.close(session)
        throw error
      } finally {
        session.isBusy = false
      }
    }

    const execute = async (request: IqRequest): Promise<IqAnswer> => {
      const node = request.payload.attr('node')
      if (node === undefined) throw new StanzaError('bad-request', { text: 'no node' })
      const sessionid = request.payload.attr('sessionid')
      if (sessionid === undefined) return await begin(node, request)
      return await goOn(node, sessionid, request)
    }
    iq.on('server', 'set', COMMANDS_NS, 'command', execute)
    iq.on('account', 'set', COMMANDS_NS, 'command', (request) => {
      if (!request.from.bareEquals(request.to)) throw new StanzaError('service-unavailable')
      return execute(request)
    })
    hooks.on('sm_remove_connection', (resource) => {
      sessions.closeAll(resource.jid.full)
      return resource
    })
  },
})

/** The form that was sent back; what is malformed, or none, is a bad payload. */
function formOf(payload: Element): DataForm {
  const x = payload.child('x', FORM_NS)
  if (x === undefined) throw badPayload('expected the form')
  try {
    return readForm(x)
  } catch (error) {
    if (!(error instanceof StanzaError)) throw error
    throw badPayload(error.message)
  }
}

/** The requester may send the form once more. */
function isCorrectable(error: unknown): boolean {
  return error instanceof StanzaError && error.detail?.name === 'bad-payload'
}
