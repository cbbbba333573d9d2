import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBare, parseJid } from '../xmpp/jid.ts'
import {
  type Caller,
  ensureMayGive,
  mayEverGive,
  OPERATOR,
  type Permission,
} from './command-access.ts'

const command = (permission: Permission, ...subjects: string[]) => ({
  name: 'thing do',
  permission,
  subjects,
})

const reader: Caller = { name: 'r', role: 'read-only' }
const readerOfA: Caller = { ...reader, domains: ['a.example'] }
const adminOfA: Caller = { name: 'd', role: 'domain-admin', domains: ['a.example'] }
const adminOfNone: Caller = { name: 'd', role: 'domain-admin' }

test('who may give which command at all', () => {
  const cases: [Permission, subject: string | undefined, caller: Caller, may: boolean][] = [
    ['server:write', undefined, OPERATOR, true],
    ['messages:content', 'jid', OPERATOR, true],
    ['server:read', undefined, reader, true],
    ['server:write', undefined, reader, false],
    ['accounts:write', 'jid', reader, false],
    // Reading is not reading what others wrote.
    ['messages:content', 'jid', reader, false],
    ['accounts:read', 'jid', readerOfA, true],
    ['server:read', undefined, readerOfA, false],
    ['accounts:write', 'jid', adminOfA, true],
    ['messages:content', 'jid', adminOfA, true],
    ['server:read', undefined, adminOfA, false],
    // Even about the own domain.
    ['server:write', 'domain', adminOfA, false],
    ['tokens:write', 'domain', adminOfA, false],
    ['accounts:write', 'jid', adminOfNone, false],
  ]
  for (const [permission, subject, caller, may] of cases) {
    const asked = command(permission, ...(subject === undefined ? [] : [subject]))
    assert.equal(mayEverGive(asked, caller), may, `${permission} ${caller.role}`)
  }
})

test('who administers a domain names it, and no other, in every argument', () => {
  const asked = command('accounts:write', 'jid', 'domain')
  const mine = parseBare('alice@a.example')
  const fine: object[] = [
    { jid: mine },
    { jid: parseJid('alice@a.example/phone') },
    { domain: 'a.example' },
    { jid: mine, domain: 'a.example', contact: parseBare('bob@b.example') },
  ]
  for (const args of fine) ensureMayGive(asked, { ...args }, adminOfA)
  const refused: object[] = [
    {},
    { jid: parseBare('alice@b.example') },
    { domain: 'b.example' },
    { domain: 'sub.a.example' },
    { jid: mine, domain: 'b.example' },
    { domain: 'x@y@z' },
    { jid: 5 },
    { jid: null },
    { contact: mine },
  ]
  for (const args of refused) {
    assert.throws(() => ensureMayGive(asked, { ...args }, adminOfA), { code: 'forbidden' })
  }
})
