import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { debianVersion } from '../machine.ts'
import { COMPONENT, type Setup, type Target, VARIANTS, type Variant } from './target.ts'

const bareModules = `
  mod_roster: {}
  mod_offline:
    access_max_user_messages: max_user_offline_messages
  mod_register:
    access: all
    ip_access: all
    captcha_protected: false
    password_strength: 0
    welcome_message: {subject: "", body: ""}
`

const typicalModules = `${bareModules}
  mod_adhoc: {}
  mod_blocking: {}
  mod_caps: {}
  mod_carboncopy: {}
  mod_client_state: {}
  mod_disco: {}
  mod_last: {}
  mod_ping: {}
  mod_privacy: {}
  mod_private: {}
  mod_stream_mgmt:
    resend_on_timeout: if_offline
  mod_time: {}
  mod_vcard: {search: false}
  mod_version: {}
`

const archiveModules = `${typicalModules}
  mod_mam:
    db_type: sql
    default: always
    request_activates_archiving: false
    assume_mam_usage: true
`

const modules: Record<Variant, string> = {
  bare: bareModules,
  typical: typicalModules,
  archive: archiveModules,
}

const componentListener = (port: number) => `  - port: ${port}
    ip: "127.0.0.1"
    module: ejabberd_service
    hosts:
      ${COMPONENT.domain}:
        password: ${COMPONENT.secret}`

const configuration = ({ variant, port, directory, tls, scram, componentPort }: Setup) => `
loglevel: warning
hosts: [localhost]
listen:
  - port: ${port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: none
    access: all
    starttls: ${tls !== undefined}
    backlog: 4096
${componentPort === undefined ? '' : componentListener(componentPort)}
${tls ? `certfiles: ["${tls.certificate}", "${tls.key}"]` : ''}
auth_method: internal
auth_password_format: ${scram ? 'scram' : 'plain'}
auth_scram_hash: sha256
disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"]
registration_timeout: infinity
shaper_rules:
  max_user_sessions: 2000
  max_user_offline_messages: 100
sql_type: sqlite
sql_database: "${directory}/archive.sqlite"
sql_pool_size: 1
modules:
${modules[variant]}`

/** The library folder of the Debian package. */
const library = () => globSync('/usr/lib/*/ejabberd-*/ebin')[0]

function createArchive(directory: string): void {
  const file = join(directory, 'archive.sqlite')
  if (existsSync(file)) return
  const database = new DatabaseSync(file)
  database.exec('PRAGMA journal_mode = WAL')
  database.exec(readFileSync('/usr/share/ejabberd/sql/lite.sql', 'utf8'))
  database.close()
}

/**
 * Run by `erl` itself rather than `ejabberdctl`, which insists on an account of its own.
 * No `-sname`: without distribution nothing listens but the client port.
 */
export const ejabberd: Target = {
  name: 'ejabberd',
  protocol: 'xmpp',
  variants: VARIANTS,
  version() {
    return library() === undefined ? undefined : debianVersion('ejabberd')
  },
  launch(setup) {
    const { directory, variant } = setup
    const file = join(directory, 'ejabberd.yml')
    writeFileSync(file, configuration(setup))
    mkdirSync(join(directory, 'mnesia'), { recursive: true })
    if (variant === 'archive') createArchive(directory)
    return {
      command: [
        ...['erl', '+K', 'true', '+P', '250000', '+Q', '65536', '-noinput'],
        ...['-mnesia', 'dir', `"${directory}/mnesia"`],
        ...['-ejabberd', 'quiet', 'true', '-s', 'ejabberd'],
      ],
      environment: {
        HOME: directory,
        EJABBERD_CONFIG_PATH: file,
        EJABBERD_LOG_PATH: join(directory, 'ejabberd.log'),
        ERL_LIBS: dirname(dirname(library() ?? '')),
        ERL_CRASH_DUMP: join(directory, 'crash.dump'),
      },
    }
  },
}
