import { globSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Credential } from '../../src/connection/certificate.ts'
import { el } from '../../src/xmpp/xml.ts'
import type { Internet } from './federation.ts'
import { ForeignServer, type Launch, type Place } from './foreign-server.ts'
import { PASSWORD } from './server.ts'

/** The library folder of the Debian package. */
const LIBRARY = globSync('/usr/lib/*/ejabberd-*/ebin')[0]

/** With it, what it has stored survives its being killed. */
const SQLITE = globSync('/usr/lib/{*/,erlang/lib/}p1_sqlite3-*/ebin')[0]
const SCHEMA = '/usr/share/ejabberd/sql/lite.sql'

/** Why tests with it are left out, if they are. */
export const withoutEjabberd = missing()

function missing(): string | false {
  if (LIBRARY === undefined) return 'ejabberd is not installed'
  return SQLITE === undefined ? 'erlang-p1-sqlite3 is not installed' : false
}

export type EjabberdWishes = {
  /** Of others: `required_trusted` wants certificates. */
  readonly starttls: 'required' | 'required_trusted'
  readonly dialback: boolean
  /** Of its log. */
  readonly level: 'debug' | 'info'
  /** Where it takes commands over HTTP; nowhere when absent. */
  readonly apiPort?: number
  /** Modules that it has besides. */
  readonly more?: readonly string[]
  /** How it keeps passwords. */
  readonly passwords: 'plain' | 'scram'
  /** In place of one that the authority vouches for. */
  readonly certificate?: Pick<Credential, 'pem'>
}

const USUAL: EjabberdWishes = {
  starttls: 'required',
  dialback: true,
  level: 'debug',
  passwords: 'plain',
}

/** ejabberd for `domain`, with accounts that have the password of the tests. */
export async function startEjabberd(
  internet: Internet,
  domain: string,
  accounts: readonly string[],
  wishes: Partial<EjabberdWishes> = {},
): Promise<ForeignServer> {
  const prepare = async (place: Place): Promise<Launch> => {
    const { directory } = place
    const file = join(directory, 'ejabberd.yml')
    await writeFile(file, configuration(place, { ...USUAL, ...wishes }))
    await mkdir(join(directory, 'mnesia'))
    const database = new DatabaseSync(join(directory, 'ejabberd.db'))
    database.exec('PRAGMA journal_mode = WAL')
    database.exec(await readFile(SCHEMA, 'utf8'))
    database.close()
    const [host = '', port = ''] = place.dns.split(':')
    const resolver = join(directory, 'inetrc')
    const settings = [
      '{lookup, [dns]}.',
      // Not those of the machine.
      '{resolv_conf, ""}.',
      '{hosts_file, ""}.',
      `{nameserver, {${host.replaceAll('.', ',')}}, ${port}}.`,
    ]
    await writeFile(resolver, `${settings.join('\n')}\n`)
    return {
      command: [
        ...(['erl', '-noinput', '-mnesia', 'dir', `"${directory}/mnesia"`] as const),
        ...['-kernel', 'inetrc', `"${resolver}"`, '-s', 'ejabberd'],
      ],
      environment: {
        HOME: directory,
        EJABBERD_CONFIG_PATH: file,
        EJABBERD_LOG_PATH: join(directory, 'ejabberd.log'),
        ERL_LIBS: dirname(dirname(LIBRARY ?? '')),
        ERL_CRASH_DUMP: join(directory, 'crash.dump'),
      },
    }
  }
  const server = await ForeignServer.start(internet, domain, prepare, wishes.certificate)
  for (const account of accounts) await register(server, account)
  return server
}

/** In-band (XEP-0077). */
async function register(server: ForeignServer, account: string): Promise<void> {
  await using client = await server.open()
  const form = el(
    'query',
    { xmlns: 'jabber:iq:register' },
    el('username', {}, account),
    el('password', {}, PASSWORD),
  )
  const answer = await client.ask('set', server.place.domain, form)
  if (answer.attr('type') !== 'result') throw new Error(`not registered: ${answer}`)
}

/** What it logged. */
export async function logOfEjabberd({ place }: ForeignServer): Promise<string> {
  return await readFile(join(place.directory, 'ejabberd.log'), 'utf8')
}

function configuration(place: Place, wishes: EjabberdWishes): string {
  return `
loglevel: ${wishes.level}
hosts: ["${place.domain}"]
certfiles: ["${place.certificate}"]
ca_file: "${place.ca}"
s2s_cafile: "${place.ca}"
s2s_use_starttls: ${wishes.starttls}
s2s_dns_retries: 1
listen:
  - port: ${place.clientPort}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: false
    access: all
  - port: ${place.serverPort}
    ip: "${place.address}"
    module: ejabberd_s2s_in
${wishes.apiPort === undefined ? '' : api(wishes.apiPort)}auth_method: sql
default_db: sql
sql_type: sqlite
sql_database: "${place.directory}/ejabberd.db"
auth_password_format: ${wishes.passwords}
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
registration_timeout: infinity
shaper_rules:
  many: 50000
modules:
  mod_roster: {}
${(wishes.more ?? []).map((name) => `  ${name}: {}\n`).join('')}  mod_ping: {}
  mod_offline:
    access_max_user_messages: many
  mod_disco: {}
  mod_register:
    access: all
    ip_access: all
    captcha_protected: false
    password_strength: 0
    welcome_message: {subject: "", body: ""}
${wishes.dialback ? '  mod_s2s_dialback: {}' : ''}
`
}

function api(port: number): string {
  return `  - port: ${port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers:
      /api: mod_http_api
api_permissions:
  everything:
    from: mod_http_api
    who: all
    what: "*"
`
}
