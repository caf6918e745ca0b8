// SPDX-License-Identifier: Apache-2.0
#include "relay/smtp_path.h"

bool
smtp_path_ok(struct slice a, bool *eight)
{
	bool quoted = false;
	size_t i;

	if (a.n > SMTP_PATH_MAX)
		return false;
	for (i = 0; i < a.n; i++) {
		unsigned char ch = (unsigned char)a.p[i];

		if (ch < 32 || ch == 127)
			return false;
		if (ch > 127)
			*eight = true;
		if (ch == '"')
			quoted = !quoted;
		else if (quoted && ch == '\\' && ++i < a.n &&
		    ((unsigned char)a.p[i] < 32 || (unsigned char)a.p[i] >= 127))
			return false;
		else if (!quoted && (ch == ' ' || ch == '<' || ch == '>'))
			return false;
	}
	return !quoted;
}

bool
smtp_value_ok(struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++)
		if (s.p[i] <= 32 || s.p[i] >= 127)
			return false;
	return s.n <= SMTP_PATH_MAX;
}
