// SPDX-License-Identifier: Apache-2.0
/* `salvaposta check` of user-notice-templates. */
#include <string.h>
#include <sys/stat.h>

#include "admin/check_notice.h"
#include "admin/keyfile.h"
#include "policy/notice_template.h"

/* 1 there is one, 0 there is none. */
static int
check_one(const char *folder, enum notice_language l, check_notice_fn *say, void *arg)
{
	char path[4300], why[4500];
	struct keyfile k = { .mode = 0 };
	struct stat st;
	unsigned line;

	(void)snprintf(path, sizeof(path), "%s/%s.txt", folder, notice_language_name(l));
	if (stat(path, &st) != 0)
		return 0;
	if (keyfile_read(path, &k, why, sizeof(why)) != 0) {
		say(arg, why);
	} else {
		const char *bad = notice_template_check(buf_slice(&k.text), &line);

		if (bad != NULL) {
			(void)snprintf(why, sizeof(why), "%s:%u: %s", path, line, bad);
			say(arg, why);
		}
	}
	keyfile_fini(&k);
	return 1;
}

void
check_notices(const struct conf *c, check_notice_fn *say, void *arg)
{
	const char *folder = c->notice_templates;
	char why[4300];
	int found = 0;

	if (folder == NULL)
		return;
	for (int l = 0; l < NOTICE_LANGUAGES; l++)
		found += check_one(folder, (enum notice_language)l, say, arg);
	if (found > 0)
		return;
	(void)snprintf(why, sizeof(why), "%s: has neither it.txt nor en.txt: write one, or leave the "
	    "key out", folder);
	say(arg, why);
}
