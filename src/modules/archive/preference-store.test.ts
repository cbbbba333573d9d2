import assert from 'node:assert/strict'
import { test } from 'node:test'
import { coherentNodes } from '../../../test/support/coherence.ts'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { jid } from '../../xmpp/jid.ts'
import { PreferenceStore, preferencesMigration } from './preference-store.ts'

const JULIET = jid('juliet', 'im.example.com')

test('what an account wanted that was removed on one node is known to none', async () => {
  await using storage = await openEmpty()
  await storage.migrate([preferencesMigration])
  const node = coherentNodes('archive')
  const [here, elsewhere] = [0, 1].map(() => {
    const coherence = node()
    const preferences = new PreferenceStore(storage, () => 'always', 10, coherence)
    coherence.keep(preferences)
    return preferences
  }) as [PreferenceStore, PreferenceStore]
  await here.set(JULIET, { defaultMode: 'never', always: new Set(), never: new Set() })
  assert.equal((await elsewhere.get(JULIET.full)).defaultMode, 'never')
  await here.remove(JULIET)
  assert.equal((await elsewhere.get(JULIET.full)).defaultMode, 'always')
})
