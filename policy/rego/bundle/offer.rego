# What would turn a refusal into a permission. A refusal is a challenge only where
# one offer cures every reason of it, so that nobody goes to the trouble in vain; or
# signing in again and then saying what for, each of which is asked in its turn.
# Which reason is cured by what is said in reasons.yaml.
package matron

default offer := ""

# What costs least comes first.
offer := "step-up" if {
	cures_all("step-up")
	input.subject.machine == false
}

else := "purpose" if {
	cures_all("purpose")
	input.subject.machine == false
}

else := "step-up" if {
	count(reasons) > 0
	every code in reasons {
		some what in ["step-up", "purpose"]
		cured(code, what)
	}
	one_patient
	input.subject.machine == false
}

else := "break-glass" if emergency

# Emergency access, in place of or besides what costs less: a card may be in a locker.
# Where it is in force already it would not help.
default emergency := false

# hazard:GW-01 control:C-01
emergency if {
	cures_all("break-glass")
	may_break_glass
	one_patient
	input.grant == ""
}

default effect := "deny"

effect := "challenge" if offer != ""

cures_all(what) if {
	count(reasons) > 0
	every code in reasons {
		cured(code, what)
	}
}

cured(code, what) if {
	some entry in data.reasons
	entry.code == code
	cures(entry.offer, what)
}

cures(offered, what) if offered == what

cures(offered, what) if {
	is_array(offered)
	what in offered
}

# A person in a role that may, by its name here or by a national code.
may_break_glass if {
	input.subject.machine == false
	some code in input.subject.roles
	row := data.roles[object.get(data.codes, code, code)]
	row.machine == false
	row["break-glass"] == true
}

may_break_glass if probe

# Emergency access is to one patient, whose number is certain.
one_patient if {
	input.certainty in {"authoritative", "learned"}
	[patient] = input.patients
	patient != ""
}

# Matron's own probe: no sign-in service can give anybody this issuer.
probe if {
	input.subject.issuer == "urn:matron:probe"
	input.subject.machine == true
	"break-glass-probe" in input.subject.roles
}

# METADATA
# labels:
#   id: probe-without-grant
reasons contains "probe-without-grant" if {
	considered
	probe
	not basis
}
