import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'

const root = new URL('../../', import.meta.url).pathname

const PREAMBLE = `
import {
  createServer, defineModule, DROP, el, Envelope, StanzaError, stop, type Hooks, type Session,
} from 'meerkat'
declare const hooks: Hooks
`

/** What modules write, and whether the compiler lets them. */
const SNIPPETS: readonly {
  readonly what: string
  readonly code: string
  /** Part of what the compiler says; absent if it says nothing. */
  readonly error?: RegExp
}[] = [
  {
    what: 'a handler that passes its payload on',
    code: `hooks.on('user_send_message', (envelope) => envelope)`,
  },
  {
    what: 'a handler that stops, drops or refuses',
    code: `hooks.on('user_send_message', (envelope, { session }) => {
      if (session.isClosed) return DROP
      if (envelope.to.isBare) throw new StanzaError('forbidden')
      return stop(envelope)
    })`,
  },
  {
    what: 'a handler that answers later',
    code: `hooks.on('user_send_message', async (envelope) => envelope)`,
  },
  {
    what: 'a handler with a place and a way to fail',
    code: `hooks.on('filter_packet', (envelope) => envelope, { order: 10, onError: 'skip' })`,
  },
  {
    what: 'a hook that does not exist',
    code: `hooks.on('user_sent_message', (envelope: Envelope) => envelope)`,
    error: /user_sent_message/,
  },
  {
    what: 'a forgotten return',
    code: `hooks.on('user_send_message', (envelope) => { envelope.stanza.child('body') })`,
    error: /void|undefined/,
  },
  {
    what: 'a return forgotten on one way',
    code: `hooks.on('user_send_message', (envelope) => { if (envelope.hasNotes) return envelope })`,
    error: /Not all code paths return a value|undefined/,
  },
  {
    what: 'a return forgotten by a handler that answers later',
    code: `hooks.on('user_send_message', async (envelope) => { await envelope.settlement?.done })`,
    error: /void/,
  },
  {
    what: 'a payload of another hook',
    code: `hooks.on('user_send_message', (session: Session) => session)`,
    error: /Session|Envelope/,
  },
  {
    what: 'a verdict of another hook',
    code: `hooks.on('user_open_session', () => 'maybe')`,
    error: /maybe/,
  },
  {
    what: 'parameters of another hook',
    code: `hooks.on('filter_packet', (envelope, { session }) => envelope)`,
    error: /session/,
  },
  {
    what: 'stop with another payload',
    code: `hooks.on('user_send_message', () => stop('envelope'))`,
    error: /string|Envelope/,
  },
  {
    what: 'a way to fail that there is not',
    code: `hooks.on('filter_packet', (envelope) => envelope, { onError: 'ignore' })`,
    error: /ignore/,
  },
  {
    what: 'a change of an envelope',
    code: `hooks.on('filter_packet', (envelope) => { envelope.to = envelope.from; return envelope })`,
    error: /read-only/,
  },
  {
    what: 'a condition that RFC 6120 does not have',
    code: `new StanzaError('not-possible')`,
    error: /not-possible/,
  },
  {
    what: 'a hook of the module’s own',
    code: `declare module 'meerkat' {
      interface HookMap {
        /** Somebody has voted. */
        vote_cast: { readonly acc: number; readonly params: { readonly by: string } }
      }
    }
    hooks.on('vote_cast', (votes, { by }) => votes + by.length)
    hooks.at('vote_cast').run(1, { by: 'romeo' })`,
  },
  {
    what: 'a hook of the module’s own, with a payload that it has not',
    code: `declare module 'meerkat' {
      interface HookMap {
        vote_counted: { readonly acc: number; readonly params: object }
      }
    }
    hooks.at('vote_counted').run('one', {})`,
    error: /string/,
  },
  {
    what: 'a module without settings',
    code: `export default defineModule({
      name: 'mine',
      start({ hooks, iq }) {
        hooks.on('user_available', (jid) => jid)
        iq.on('server', 'get', 'urn:x', 'x', () => el('x', { xmlns: 'urn:x' }))
      },
    })
    await using server = await createServer({ use: [] })
    await server.start()`,
  },
  {
    what: 'an iq handler that answers with text',
    code: `defineModule({
      name: 'mine',
      start({ iq }) {
        iq.on('server', 'get', 'urn:x', 'x', () => 'x')
      },
    })`,
    error: /string/,
  },
]

describe('what the compiler lets modules do', () => {
  const directory = mkdtempSync(join(tmpdir(), 'meerkat-types-'))
  const fileOf = (index: number) => `snippet-${index}.ts`
  let output = ''

  before(() => {
    const config = {
      extends: join(root, 'tsconfig.json'),
      include: ['*.ts'],
      compilerOptions: {
        typeRoots: [join(root, 'node_modules/@types')],
        paths: { meerkat: [join(root, 'src/index.ts')] },
      },
    }
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config))
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }))
    SNIPPETS.forEach(({ code }, index) => {
      writeFileSync(join(directory, fileOf(index)), `${PREAMBLE}${code}\n`)
    })
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const args = ['--noEmit', '--pretty', 'false', '-p', directory]
    output = spawnSync(process.execPath, [tsc, ...args], { encoding: 'utf8' }).stdout
  })
  after(() => rmSync(directory, { recursive: true }))

  SNIPPETS.forEach(({ what, error }, index) => {
    test(`${error === undefined ? 'compiles' : 'does not compile'}: ${what}`, () => {
      const said = output.split('\n').filter((line) => line.includes(fileOf(index)))
      if (error === undefined) assert.deepEqual(said, [])
      else assert.match(said.join('\n'), error)
    })
  })
})
