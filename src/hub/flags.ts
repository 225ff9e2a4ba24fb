/** Values of flags that say how the hub is asked. */
import type { ValueType } from '../flags.js';
import { AccessToken } from './settings.js';

/** Kept so that nothing that shows or saves the arguments shows or saves it. */
export const accessToken: ValueType<AccessToken> = {
  expects: 'an access token',
  placeholder: 'TOKEN',
  many: false,
  secret: true,
  parse: ([word]) => (word === '' ? undefined : new AccessToken(word!, '--token')),
};
