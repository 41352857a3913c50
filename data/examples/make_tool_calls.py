#!/usr/bin/env python3
"""Writes tool_calls_train.jsonl and tool_calls_test.jsonl: plain English in, one JSON tool call out; and from the same
sentences tool_names_train.jsonl and tool_names_test.jsonl, for classification: which of the twelve tools is meant; and
tool_pairs_train.jsonl and tool_pairs_test.jsonl, for preferences: the right call, and the same tool's for another sentence;
tool_search_train.jsonl and tool_search_test.jsonl, for sentence embeddings: a sentence and its call.

    python3 data/examples/make_tool_calls.py            (rewrites the eight files next to it)
    python3 data/examples/make_tool_calls.py --check    (exit 1 if they differ from what it would write)

Standard library only, no clock, one seed: the same files everywhere. All text was written for this project.

Twelve tools with typed arguments:
    set_timer(minutes: int)                       set_alarm(time: H:MM am|pm, repeat: once|daily|weekdays)
    add_reminder(task: text, time)                create_event(title: text, date: Month D, time)
    send_message(to: text, text: text)            get_weather(city: text, day: today|tomorrow|weekend)
    switch_device(device: text, on: bool)         set_thermostat(room: text, celsius: float, one decimal)
    play_music(artist: text, shuffle: bool)       add_to_cart(item: text, quantity: int)
    send_money(to: text, amount: float, two decimals)   book_table(place: text, people: int, time)

What is held out: names, places, messages, tasks and numbers are divided into a training part and a test part (Pool),
and every tool has phrasings that only the test set uses. About half of the test prompts have such a phrasing; all of
them have only values that training has never shown in that place.
"""
import json
import os
import random
import sys

SEED = 7
PER_TOOL_TRAIN = 64
PER_TOOL_TEST = 13

# ---- values ----

PEOPLE = """
Maya Daniel Priya Tom Aisha Leo Sofia Marcus Elena Jonas Grace Omar Hannah Victor Nadia Peter Lucy Ravi Chloe Ben Fatima
Oscar Julia Kenji Emma Diego Ruth Simon Anna Malik Clara Hugo Irene Felix Tara Noah Zoe Adam Mei Carlos Ingrid Paul Leila
Stefan Rosa Ivan Kate Samir Olga Nina Alice Robert Laura James Maria Kevin Sarah David Rachel Michael Linda Thomas Karen
Steven Nancy George Helen Frank Diana Walter Amy Henry Julie Arthur Megan Philip Joan Albert Rose Martin Claire Andrew Tina
Edward Monica Brian Sandra Eric Paula Patrick Vera Louis Wendy Dennis Holly Jack Iris Sam Dora Max Eva Luke Jane Mark Ella
""".split()

CITIES = """
Lisbon Oslo Chicago Nairobi Kyoto Toronto Madrid Cairo Boston Vienna Lima Seoul Dublin Athens Denver Prague Mumbai Helsinki
Seattle Warsaw Sydney Berlin Havana Zurich Austin Naples Hanoi Porto Geneva Montreal Krakow Bristol Dakar Valencia Portland
Leeds Tokyo Rome Bergen Quito Paris London Munich Delhi Miami Dallas Houston Atlanta Phoenix Detroit Stockholm Copenhagen
Amsterdam Brussels Budapest Istanbul Bangkok Singapore Shanghai Melbourne Barcelona Milan Venice Florence Hamburg Manchester
Edinburgh Glasgow Liverpool Vancouver Philadelphia Baltimore Orlando Marseille Lyon Santiago Bogota Jakarta Manila Beijing
Lagos Casablanca
""".split()


def phrases(text):
    """One or more a line, separated by semicolons."""
    return [p.strip() for p in text.replace("\n", ";").split(";") if p.strip()]


ARTISTS = phrases("""
Radiohead;Nina Simone;Daft Punk;Miles Davis;Adele;Fleetwood Mac;Bob Marley;Coldplay;Queen;Norah Jones
Arctic Monkeys;Ella Fitzgerald;Stevie Wonder;Portishead;Johnny Cash;Kate Bush;David Bowie;Tracy Chapman;Pink Floyd
Amy Winehouse;Leonard Cohen;Billie Holiday;Joni Mitchell;Otis Redding;Massive Attack;Louis Armstrong;Blur
Aretha Franklin;Tom Waits;Talking Heads;Nick Drake;Sade;Bill Withers;Blondie;Chet Baker;Patti Smith;Prince;Herbie Hancock
Bob Dylan;Neil Young;Elton John;Madonna;Nirvana;Oasis;Depeche Mode;Bruce Springsteen;Ray Charles;Frank Sinatra
Dolly Parton;Willie Nelson;Paul Simon;Van Morrison;Carole King;Marvin Gaye;Diana Ross;Sam Cooke;Buddy Holly;Chuck Berry
Janis Joplin;Jimi Hendrix;Led Zeppelin;Deep Purple;Black Sabbath;Iron Maiden;Duke Ellington;John Coltrane;Bill Evans
Glenn Gould;Lou Reed;Brian Eno;Peter Gabriel;Phil Collins;Annie Lennox;Cat Stevens;Crowded House
Tears for Fears;Pet Shop Boys;New Order;Joy Division;Beach House;Bon Iver;Vampire Weekend
""")

TASKS = phrases("""
call the dentist;water the plants;take out the trash;pay the electricity bill;feed the cat;move the laundry
pick up the parcel;charge the camera;email the landlord;walk the dog;defrost the chicken;renew my passport;check the oven
buy stamps;close the windows;ring my sister;order printer ink;take my vitamins;return the library books;iron a shirt
back up my laptop;clean the fish tank;bring in the washing;book the train tickets;send the invoice
stretch my back;fetch the kids;sharpen the knives;rotate the tires;sign the lease;top up the bus card;wrap the present
empty the dishwasher;collect the dry cleaning;lock the shed;descale the kettle;print the boarding pass;read chapter four
oil the bike chain;call the bank;water the tomatoes;pay the rent;feed the fish;move the car;pick up the cake
charge the phone;email the teacher;brush the dog;peel the potatoes;renew the insurance;check the mail;buy milk
close the garage;ring the doctor;order a taxi;take the medicine;return the ladder;iron the curtains;update the website
clean the stove;book a haircut;send the photos;fill the bird feeder;practice the piano;fold the towels;change the sheets
sign the permission slip;reply to the teacher;vacuum the stairs;measure the window;write the shopping list
test the smoke alarm;bake the bread;mow the lawn;fix the zipper;cancel the subscription;review the budget;bathe the baby
sweep the porch;mail the postcards;rinse the recycling;air the bedroom
""")

EVENTS = phrases("""
Dentist appointment;Budget review;Lunch with Sam;Piano lesson;Team meeting;Parents evening;Haircut;Yoga class
Job interview;Project kickoff;Birthday dinner;Car inspection;Book club;Eye test;Design workshop;Vet visit;School concert
Flat viewing;Training session;Coffee with Lara;Board meeting;Swimming lesson;Phone call with the bank;Farewell party
Blood test;Choir practice;Sprint planning;Garden tour;Tax appointment;Movie night;Physiotherapy;Wine tasting;Staff meeting
Driving lesson;Photo shoot;House inspection;Dinner with Paul;Guitar lesson;Client meeting;Family reunion;Dance class
Exam review;Product launch;Anniversary dinner;Bike repair;Game night;Hearing test;Writing workshop;School play;Office move
Security training;Brunch with Nora;Tennis match;Call with the lawyer;Retirement party;Flu shot;Band rehearsal
Weekly planning;Museum tour;Visa appointment;Karaoke night;Massage;Cheese tasting;Faculty meeting;Riding lesson
Passport photo;Roof inspection;Chess tournament;Science fair;Neighborhood cleanup;Baby shower;Wedding rehearsal
Kitchen delivery;Budget call;Hiring committee;Picnic with Jo;Pottery class;Track practice;Open house;Charity run
Poker night;Annual checkup;Marketing review;Graduation party
""")

# What can follow "let Tom know that", and what can only follow a colon.
NEWS = phrases("""
I'm running ten minutes late;dinner is ready;the package arrived;I left the keys under the mat;the train is delayed
the meeting was moved to Monday;I'm on my way;we're out of milk;the door code is 4921;I'll be home by seven
the printer works again;the kids are asleep;lunch is on me;my flight landed;the wifi is down;we won the game
I parked behind the bakery;the report is finished;the table for four is booked;I'll take the early shift
the cake is in the oven;it starts at nine;I found the scarf;the plumber is coming at noon;the gate is locked
I need the blue folder;the soup was great;I'm stuck in traffic;the tickets are sold out
the rehearsal was cancelled;I passed the exam;the bus just left;we moved the party to Sunday;I finished the book
the heating is fixed;I'll bring dessert;the shop closes at six;my phone is almost dead;the baby is walking
we need more chairs;I'm at the front desk;the car is ready;I forgot the umbrella;the lights are off
we're having pizza tonight;the contract is signed;I'll call back tomorrow;the dog is at the vet;I'm in the second row
the elevator is broken;the doctor can see us today;I booked the hotel;the paint is dry
I'm working from home;the game is on channel five;the bakery has fresh rolls
""")
NOTES = phrases("""
see you at the station;good luck today;please call me back;thanks for the flowers;happy birthday;don't forget the tickets
sorry I missed your call;can you bring the charger;save me a seat;bring a warm coat;leave the light on;see you on Friday
what was the address again;get well soon;have a safe trip;well done yesterday;where did you park;are you free tonight
congratulations on the job;let's meet at the cafe;who has the keys;is the pool open;thanks for your help;don't wait for me
""")

DEVICES = phrases("""
kitchen light;bedroom lamp;coffee machine;hallway light;ceiling fan;garden lights;porch light;heater
office lamp;bathroom fan;desk lamp;garage light;air purifier;TV;radio;living room light;electric blanket;Christmas lights
robot vacuum;balcony light;sprinkler;stereo;aquarium light;washing machine;pool pump;reading lamp;basement light
humidifier;attic fan;dishwasher;floor lamp;rice cooker;stair light;table fan;pool lights;patio heater;towel warmer
bathroom light;night light;printer;projector;dining room light;space heater;window fan;ice maker;closet light
sound system;terrace light;water heater;game console;fountain;porch fan;laundry light;kitchen radio;bedroom TV
oven light;fireplace;string lights;nursery lamp;driveway light;air conditioner;kettle;toaster;study lamp;barn light
""")

ROOMS = phrases("""
bedroom;kitchen;living room;office;bathroom;nursery;guest room;basement;hallway;studio;dining room;attic;conservatory
garage;library;playroom;study;workshop;gym;sunroom;lounge;cellar;den;music room;laundry room;entrance;master bedroom
meeting room;greenhouse;sauna;upstairs bathroom;lobby;reading room;sewing room
""")

ITEMS = phrases("""
eggs;cartons of milk;bananas;bags of rice;lemons;cans of tomatoes;loaves of bread;onions;bottles of water;light bulbs
packs of butter;avocados;rolls of tape;apples;jars of honey;AA batteries;bars of soap;carrots;tins of tuna;boxes of tea
red peppers;bags of flour;limes;candles;packs of napkins;potatoes;garbage bags;oranges;boxes of cereal
cucumbers;bottles of olive oil;toothbrushes;bags of coffee;pears;jars of jam;peaches;boxes of pasta;cans of beans
bottles of juice;bags of sugar;tomatoes;pencils;paper towels;envelopes;rolls of foil;packs of gum;bags of chips
cans of soup;blocks of cheese;mushrooms;sponges;bottles of vinegar;bags of ice;jars of olives;plums;paper plates;tea bags
packs of tissues;bags of salad;heads of garlic;cans of corn;boxes of crackers;plastic cups;melons;screws;paint brushes
coat hangers;bags of nuts;muffins;bottles of shampoo;bagels
""")

PLACES = phrases("""
Luigi's;the Blue Door;Sakura House;Casa Verde;the Old Mill;Bistro Nord;Golden Lotus;Chez Marie;the Harbor Grill
Taverna Kos;Spice Route;the Corner Table;La Piazza;Green Olive;Tandoor Palace;the Lemon Tree;Seoul Kitchen;Bella Vista
the Red Lantern;Cafe Luna;Trattoria Roma;the Wild Fig;Bamboo Garden;El Faro;the Copper Pot;Maison Blanche;Saffron
the Anchor;Mario's;the Green Door;Lotus House;Casa Blanca;the Old Barn;Bistro Paris;Golden Dragon;Chez Paul
the River Grill;Cafe Europa;Silk Road;the Long Table;La Cantina;Black Olive;Curry Palace;the Apple Tree;Tokyo Kitchen
Buena Vista;the White Horse;Cafe Central;Pizzeria Napoli;the Wild Rose;Rose Garden;El Toro;the Silver Spoon;Blue Moon
Olive Grove;the Lighthouse;Thai Garden;Ocean Grill;the Village Inn;Little Italy;the Oak Room;Sunset Cafe
the Fish Market;Royal India
""")

MONTHS = """January February March April May June July August September October November December""".split()


class Pool:
    """A list of (words, value) pairs, divided into the part training draws from and the part only the test sees."""

    def __init__(self, rng, pairs, test_share=0.25):
        pairs = list(pairs)
        rng.shuffle(pairs)
        n_test = max(1, round(len(pairs) * test_share))
        self.parts = {"test": pairs[:n_test], "train": pairs[n_test:]}
        self.unused = {"test": [], "train": []}

    def joined(self, other):
        for part in self.parts:
            self.parts[part] = self.parts[part] + other.parts[part]
        return self

    def draw(self, rng, part):
        """Goes through the whole part before anything comes a second time."""
        if not self.unused[part]:
            self.unused[part] = list(self.parts[part])
            rng.shuffle(self.unused[part])
        return self.unused[part].pop()


def texts(words):
    return [(w, w) for w in words]


def integers(low, high):
    return [(str(n), n) for n in range(low, high + 1)]


def money(rng):
    """12.50 -> 12.50, 40 -> 40.00: the argument always has two decimals."""
    seen = {}
    while len(seen) < 140:
        cents = rng.randrange(300, 40000) if rng.random() < 0.6 else rng.randrange(3, 400) * 100
        words = f"{cents // 100}" if cents % 100 == 0 else f"{cents // 100}.{cents % 100:02d}"
        seen[words] = f"{cents / 100:.2f}"
    return list(seen.items())


def degrees():
    """19 -> 19.0, 21.5 -> 21.5: one decimal."""
    values = [f"{half / 2:.1f}" for half in range(30, 55)]
    return [(v[:-2] if v.endswith(".0") else v, v) for v in values]


QUARTERS = [15, 30, 45]
FIVES = list(range(5, 60, 5))


def clock(hours, minutes):
    """7:30 pm -> 7:30 pm, 8 pm -> 8:00 pm: the argument always has minutes."""
    out = []
    for hour in hours:
        half, twelve = "am" if hour < 12 else "pm", (hour + 11) % 12 + 1
        out.append((f"{twelve} {half}", f"{twelve}:00 {half}"))
        out += [(f"{twelve}:{minute:02d} {half}",) * 2 for minute in minutes]
    return out


def ordinal(day):
    return f"{day}{'th' if day in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def dates(rng):
    """May 3, May 3rd, 3 May -> May 3."""
    out = []
    for name in MONTHS:
        for day in rng.sample(range(1, 29), 9):
            words = rng.choice([f"{name} {day}", f"{name} {ordinal(day)}", f"{day} {name}"])
            out.append((words, f"{name} {day}"))
    return out


# ---- phrasings: (what training and test share, what only the test has); fixed arguments follow a template ----

ONCE, DAILY, WEEKDAYS = {"repeat": "once"}, {"repeat": "daily"}, {"repeat": "weekdays"}
TODAY, TOMORROW, WEEKEND = {"day": "today"}, {"day": "tomorrow"}, {"day": "weekend"}
ON, OFF = {"on": True}, {"on": False}
SHUFFLE, IN_ORDER = {"shuffle": True}, {"shuffle": False}


def home_tools(rng):
    return [
        ("set_timer", ["minutes"], {"minutes": Pool(rng, integers(2, 99))}, [
            "Set a timer for {minutes} minutes", "Start a {minutes} minute timer", "Timer for {minutes} minutes, please",
            "Count down {minutes} minutes for me", "Can you time {minutes} minutes?", "Set a {minutes} minute timer",
            "The pasta needs {minutes} minutes, set a timer", "Please start a timer, {minutes} minutes",
            "I need a {minutes} minute countdown", "Give me {minutes} minutes on the timer",
            "Can you set a {minutes} minute timer?", "I want a countdown of {minutes} minutes",
        ], [
            "Could you set the timer to {minutes} minutes?", "I want a timer for {minutes} minutes",
            "Start a countdown of {minutes} minutes", "Set the timer for {minutes} minutes, please",
        ]),
        ("set_alarm", ["time", "repeat"], {"time": Pool(rng, clock(range(4, 12), FIVES))}, [
            ("Wake me up at {time}", ONCE), ("Set an alarm for {time}", ONCE), ("I need an alarm at {time}", ONCE),
            ("Alarm at {time}, please", ONCE), ("Set an alarm for {time} every day", DAILY),
            ("Wake me at {time} every morning", DAILY), ("I want a daily alarm at {time}", DAILY),
            ("Set my alarm to {time} on weekdays", WEEKDAYS), ("Wake me up at {time} from Monday to Friday", WEEKDAYS),
            ("I want a weekday alarm at {time}", WEEKDAYS), ("Alarm at {time} every weekday", WEEKDAYS),
        ], [
            ("Please wake me at {time}", ONCE), ("Can you set an alarm for {time}?", ONCE),
            ("Set a daily alarm for {time}", DAILY), ("Every day at {time}, wake me up", DAILY),
            ("I need a weekday alarm at {time}", WEEKDAYS), ("Please wake me at {time} on weekdays", WEEKDAYS),
        ]),
        ("switch_device", ["device", "on"], {"device": Pool(rng, texts(DEVICES))}, [
            ("Turn on the {device}", ON), ("Switch the {device} on", ON), ("Please turn the {device} on", ON),
            ("Can you switch on the {device}?", ON), ("Start the {device}", ON),
            ("Turn off the {device}", OFF), ("Switch the {device} off", OFF), ("Please turn the {device} off", OFF),
            ("Can you switch off the {device}?", OFF), ("Nobody needs the {device}, turn it off", OFF),
        ], [
            ("Could you turn on the {device}?", ON), ("I want the {device} on", ON),
            ("Could you turn off the {device}?", OFF), ("The {device} is still on, switch it off please", OFF),
        ]),
        ("set_thermostat", ["room", "celsius"], {"room": Pool(rng, texts(ROOMS)), "celsius": Pool(rng, degrees())}, [
            "Set the {room} to {celsius} degrees", "Make the {room} {celsius} degrees",
            "Heat the {room} to {celsius} degrees", "Please set the {room} temperature to {celsius}",
            "I want {celsius} degrees in the {room}", "Bring the {room} to {celsius} degrees",
            "{celsius} degrees in the {room}, please", "Thermostat in the {room}: {celsius} degrees",
            "Can you make the {room} {celsius} degrees?", "Keep the {room} temperature at {celsius} degrees",
        ], [
            "Change the {room} temperature to {celsius} degrees", "Can you set the {room} to {celsius} degrees?",
            "I want the {room} at {celsius} degrees", "Keep the {room} at {celsius} degrees",
        ]),
        ("play_music", ["artist", "shuffle"], {"artist": Pool(rng, texts(ARTISTS))}, [
            ("Play {artist}", IN_ORDER), ("Put on some {artist}", IN_ORDER), ("I want to hear {artist}", IN_ORDER),
            ("Play me something by {artist}", IN_ORDER), ("Can you play {artist}?", IN_ORDER),
            ("I'd like to listen to {artist}", IN_ORDER),
            ("Shuffle {artist}", SHUFFLE), ("Play {artist} on shuffle", SHUFFLE),
            ("Play songs by {artist} in random order", SHUFFLE), ("Put {artist} on shuffle, please", SHUFFLE),
            ("Can you shuffle {artist}?", SHUFFLE), ("Play {artist} in random order", SHUFFLE),
            ("Can you put {artist} on shuffle?", SHUFFLE),
        ], [
            ("Please play some {artist}", IN_ORDER), ("I'd like to hear some {artist}", IN_ORDER),
            ("Please shuffle {artist}", SHUFFLE), ("Can you play {artist} on shuffle?", SHUFFLE),
        ]),
    ]


def errand_tools(rng):
    people, cities, news = Pool(rng, texts(PEOPLE)), Pool(rng, texts(CITIES)), Pool(rng, texts(NEWS))
    return [
        ("add_reminder", ["task", "time"],
         {"task": Pool(rng, texts(TASKS)), "time": Pool(rng, clock(range(6, 24), QUARTERS))}, [
            "Remind me to {task} at {time}", "At {time}, remind me to {task}", "Set a reminder for {time} to {task}",
            "Don't let me forget to {task} at {time}", "I have to {task} at {time}, please remind me",
            "Can you remind me at {time} to {task}?", "Add a reminder to {task} at {time}",
            "Please set a reminder to {task} at {time}", "I must {task} at {time}, set a reminder",
        ], [
            "Please remind me to {task} at {time}", "I need a reminder at {time} to {task}",
            "Could you remind me to {task} at {time}?", "At {time} I have to {task}, remind me",
        ]),
        ("create_event", ["title", "date", "time"],
         {"title": Pool(rng, texts(EVENTS)), "date": Pool(rng, dates(rng)),
          "time": Pool(rng, clock(range(8, 22), QUARTERS))}, [
            "Add {title} to my calendar on {date} at {time}", "Schedule {title} for {date} at {time}",
            "Put {title} on the calendar, {date} at {time}", "Create an event: {title}, {date}, {time}",
            "New calendar entry: {title} on {date} at {time}", "Please schedule {title} at {time} on {date}",
            "I have {title} on {date} at {time}, add it please", "Can you put {title} on my calendar, {date} at {time}?",
        ], [
            "Please add {title} to the calendar on {date} at {time}",
            "Can you add {title} to my calendar on {date} at {time}?",
            "I have {title} on {date} at {time}, put it in my calendar",
        ]),
        ("send_message", ["to", "text"],
         {"to": people, "news": news, "text": Pool(rng, texts(NOTES)).joined(news)}, [
            "Text {to}: {text}", "Send a message to {to} saying {text}", "Tell {to} {news}", "Let {to} know {news}",
            "Message {to} that {news}", "Write to {to}: {text}", "Send {to} a text: {text}",
            "Can you text {to} that {news}?", "Please let {to} know that {news}", "Message {to}: {text}",
        ], [
            "Please tell {to} {news}", "Send a text to {to}: {text}", "Can you let {to} know that {news}?",
            "Send {to} a message saying {text}",
        ]),
        ("get_weather", ["city", "day"], {"city": cities}, [
            ("What's the weather in {city} today?", TODAY), ("How warm is it in {city} right now?", TODAY),
            ("Weather in {city}", TODAY), ("Is it raining in {city}?", TODAY),
            ("What will the weather be like in {city} tomorrow?", TOMORROW),
            ("Will it rain in {city} tomorrow?", TOMORROW), ("Tomorrow's forecast for {city}, please", TOMORROW),
            ("Do I need an umbrella in {city} tomorrow?", TOMORROW),
            ("How is the weather in {city} this weekend?", WEEKEND), ("Weekend forecast for {city}", WEEKEND),
            ("Will it be sunny in {city} on the weekend?", WEEKEND),
        ], [
            ("How's the weather in {city} today?", TODAY), ("Do I need a coat in {city} today?", TODAY),
            ("Is it going to snow in {city} tomorrow?", TOMORROW), ("Forecast for {city} tomorrow", TOMORROW),
            ("What's the weather in {city} this weekend?", WEEKEND), ("Will it be warm in {city} this weekend?", WEEKEND),
        ]),
        ("add_to_cart", ["item", "quantity"],
         {"item": Pool(rng, texts(ITEMS)), "quantity": Pool(rng, integers(2, 40))}, [
            "Add {quantity} {item} to the cart", "Order {quantity} {item}", "I need {quantity} {item}",
            "Put {quantity} {item} in my cart", "We need {quantity} {item}, please order them",
            "Buy {quantity} {item}", "Please add {quantity} {item}", "Get me {quantity} {item}",
            "Can you add {quantity} {item} to my cart?",
        ], [
            "Can you order {quantity} {item}?", "Please add {quantity} {item} to my cart",
            "Please buy {quantity} {item}", "Please put {quantity} {item} in the cart",
        ]),
        ("send_money", ["to", "amount"], {"to": people, "amount": Pool(rng, money(rng))}, [
            "Send {to} ${amount}", "Pay {to} {amount} dollars", "Transfer ${amount} to {to}",
            "I owe {to} ${amount}, please send it", "Send ${amount} to {to}", "Please pay {to} ${amount}",
            "Wire {amount} dollars to {to}", "Give {to} ${amount} for the groceries", "Can you pay {to} ${amount}?",
            "Please send {to} {amount} dollars",
        ], [
            "Can you send {to} {amount} dollars?", "Please transfer {amount} dollars to {to}",
            "Pay back {to} the ${amount}", "Please wire ${amount} to {to}",
        ]),
        ("book_table", ["place", "people", "time"],
         {"place": Pool(rng, texts(PLACES)), "people": Pool(rng, integers(2, 20)),
          "time": Pool(rng, clock(range(11, 23), QUARTERS))}, [
            "Book a table for {people} at {place} at {time}", "Table for {people} at {place}, {time}",
            "Reserve a table at {place} for {people} people at {time}",
            "We are {people} people, book {place} for {time}", "Get us a table for {people} at {place} at {time}",
            "Please reserve {place} for {people} at {time}", "I want a table at {place} for {people} people at {time}",
            "Can you reserve a table for {people} at {place} at {time}?",
        ], [
            "Can you book {place} for {people} people at {time}?", "I'd like a table for {people} at {place} at {time}",
            "Make a reservation at {place} for {people} at {time}",
        ]),
    ]


# ---- samples ----

def json_value(value):
    if isinstance(value, str) and value.replace(".", "", 1).isdigit():
        return value  # a float with its fixed number of decimals
    return json.dumps(value, ensure_ascii=False)


def sample(rng, tool, template, fixed, part):
    name, keys, pools = tool[:3]
    words, values = {}, dict(fixed)
    for slot, pool in pools.items():
        if "{" + slot + "}" in template:
            words[slot], values["text" if slot == "news" else slot] = pool.draw(rng, part)
    prompt = template.format(**words)
    if rng.random() < 0.18 and not prompt.startswith(("I ", "I'", *MONTHS)):  # people type in a hurry
        prompt = prompt[0].lower() + prompt[1:]
    if prompt[-1].isalnum() and rng.random() < 0.3:
        prompt += "."
    call = ",".join(f'"{k}":{json_value(values[k])}' for k in keys)
    return prompt, f'{{"tool":"{name}",{call}}}'


def fill(rng, tool, templates, part, count, taken):
    """count samples of one tool with different prompts, the templates in turn."""
    order, out = [], []
    while len(out) < count:
        if not order:
            order = rng.sample(templates, len(templates))
        chosen = order.pop()
        template, fixed = chosen if isinstance(chosen, tuple) else (chosen, {})
        prompt, call = sample(rng, tool, template, fixed, part)
        if prompt.lower().rstrip(".") in taken:
            continue
        taken.add(prompt.lower().rstrip("."))
        out.append((prompt, call))
    return out


def make():
    rng = random.Random(SEED)
    train, test, taken = [], [], set()
    for tool in home_tools(rng) + errand_tools(rng):
        shared, test_only = tool[3], tool[4]
        train += fill(rng, tool, shared, "train", PER_TOOL_TRAIN, taken)
        half = PER_TOOL_TEST // 2
        test += fill(rng, tool, shared, "test", half, taken)
        test += fill(rng, tool, test_only, "test", PER_TOOL_TEST - half, taken)
    rng.shuffle(train)
    rng.shuffle(test)
    return {"train": train, "test": test}


# Short on purpose: without a system turn the model's template writes its own, four times as long.
SYSTEM = "Call one tool."


def conversation(prompt, call):
    json.loads(call)
    return {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt},
                         {"role": "assistant", "content": call}]}


def labelled(prompt, call):
    return {"text": prompt, "label": json.loads(call)["tool"]}


def pairs(samples, count):
    """The first `count` samples; each is paired with the next call of the same tool that differs."""
    for i, (prompt, call) in enumerate(samples[:count]):
        tool = json.loads(call)["tool"]
        others = (c for _, c in samples[i + 1:] + samples[:i] if json.loads(c)["tool"] == tool and c != call)
        question = conversation(prompt, call)["messages"][:2]
        yield {"prompt": question, "chosen": [{"role": "assistant", "content": call}],
               "rejected": [{"role": "assistant", "content": next(others)}]}


def searches(samples, count):
    """The first `count` samples with calls that no earlier one has."""
    first = {call: prompt for prompt, call in reversed(samples)}
    found = [{"anchor": prompt, "positive": call} for prompt, call in samples if first[call] == prompt]
    return found[:count]


def files():
    for part, samples in make().items():
        count = {"train": 192, "test": 48}[part]
        for kind, records in ("tool_pairs", pairs), ("tool_search", searches):
            lines = [json.dumps(r, ensure_ascii=False) + "\n" for r in records(samples, count)]
            yield f"{kind}_{part}.jsonl", lines
        for kind, record in ("tool_calls", conversation), ("tool_names", labelled):
            lines = [json.dumps(record(*s), ensure_ascii=False) + "\n" for s in samples]
            yield f"{kind}_{part}.jsonl", lines


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    stale = []
    for name, lines in files():
        path, text = os.path.join(here, name), "".join(lines)
        if "--check" in sys.argv[1:]:
            with open(path, encoding="utf-8") as f:
                stale += [name] if f.read() != text else []
            continue
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        print(f"{name}: {len(lines)} records")
    if stale:
        sys.exit("stale: " + ", ".join(stale))


main()
